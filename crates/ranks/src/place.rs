//! Where a process stands among those of its run, as its launcher says.

use crate::PlaceError;

/// The place of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of this process, from 0.
    pub rank: usize,
    /// Processes of the run, this one among them.
    pub size: usize,
    /// Host and port where rank 0 listens; empty and 0 for a process alone.
    pub address: (String, u16),
    /// Ranks on this machine, this one among them, as `LOCAL_WORLD_SIZE` says; else 1.
    pub local_size: usize,
    /// The number of this process among those of its machine, from 0; `rank` where the launcher
    /// does not say.
    pub local_rank: usize,
}

/// Variables of a launcher.
struct Launcher {
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    /// Whether `rank` is also set where no ranks are started.
    is_set_alone: bool,
}

/// The first of these that is set decides. Slurm numbers the processes of `srun` and sets
/// `SLURM_PROCID` in a batch script too, of which there is one whatever `SLURM_NTASKS` says.
const LAUNCHERS: [Launcher; 4] = [
    Launcher {
        rank: "RANK",
        size: "WORLD_SIZE",
        local_rank: "LOCAL_RANK",
        is_set_alone: false,
    },
    Launcher {
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        is_set_alone: false,
    },
    Launcher {
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        local_rank: "MPI_LOCALRANKID",
        is_set_alone: false,
    },
    Launcher {
        rank: "SLURM_PROCID",
        size: "SLURM_STEP_NUM_TASKS",
        local_rank: "SLURM_LOCALID",
        is_set_alone: true,
    },
];

impl Place {
    /// The place of a process that is a run of its own.
    pub fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            address: (String::new(), 0),
            local_size: 1,
            local_rank: 0,
        }
    }

    /// The place that the variables of `torchrun`, Open MPI, MPICH or Slurm say; alone where none
    /// is set. `MASTER_ADDR` and `MASTER_PORT` say where rank 0 listens. Under a `torchrun` whose
    /// agent listens at that port itself (`TORCHELASTIC_USE_AGENT_STORE`), the ranks take the next.
    ///
    /// # Errors
    /// Where a variable is missing beside another, or no number in its range.
    pub fn from_environment(
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, PlaceError> {
        for launcher in &LAUNCHERS {
            let (rank_name, size_name) = (launcher.rank, launcher.size);
            match (variable(rank_name), variable(size_name)) {
                (Some(rank), Some(size)) => {
                    return Self::of(launcher, &rank, &size, &variable);
                }
                (Some(_), None) if !launcher.is_set_alone => {
                    let (set, missing) = (rank_name, size_name);
                    return Err(PlaceError::Half { set, missing });
                }
                (None, Some(_)) => {
                    let (set, missing) = (size_name, rank_name);
                    return Err(PlaceError::Half { set, missing });
                }
                (_, None) => {}
            }
        }
        Ok(Self::alone())
    }

    fn of(
        launcher: &Launcher,
        rank: &str,
        size: &str,
        variable: &impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, PlaceError> {
        let size = number(launcher.size, size, 1, usize::MAX)?;
        let rank = number(launcher.rank, rank, 0, size - 1)?;
        let or = |name, least, most, other| {
            variable(name).map_or(Ok(other), |found| number(name, &found, least, most))
        };
        Ok(Self {
            rank,
            size,
            address: address(launcher.size, size, variable)?,
            local_size: or("LOCAL_WORLD_SIZE", 1, size, 1)?,
            local_rank: or(launcher.local_rank, 0, size - 1, rank)?,
        })
    }

    /// Whether this is rank 0, which writes and shows the run.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }
}

fn address(
    name: &'static str,
    size: usize,
    variable: &impl Fn(&'static str) -> Option<String>,
) -> Result<(String, u16), PlaceError> {
    if size == 1 {
        return Ok(Place::alone().address);
    }
    let given = |missing| {
        let value = variable(missing).filter(|value| !value.trim().is_empty());
        value.ok_or(PlaceError::NoAddress {
            missing,
            name,
            size,
        })
    };
    let host = given("MASTER_ADDR")?;
    let port = number("MASTER_PORT", &given("MASTER_PORT")?, 1, 65534)?;
    let is_taken = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
    Ok((host, port as u16 + u16::from(is_taken)))
}

fn number(name: &'static str, found: &str, least: usize, most: usize) -> Result<usize, PlaceError> {
    let value = found.trim().parse().ok();
    let value = value.filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| PlaceError::Value {
        name,
        found: found.to_owned(),
        expected: match most {
            usize::MAX => format!("a whole number from {least}"),
            _ => format!("a whole number from {least} to {most}"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Place, PlaceError> {
        Place::from_environment(|name| {
            let found = variables.iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const MASTER: [(&str, &str); 2] = [("MASTER_ADDR", "node-1"), ("MASTER_PORT", "29500")];

    #[test]
    fn every_launcher_s_names_lead_to_the_same_place() {
        for [rank, size, local_rank] in [
            ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            [
                "OMPI_COMM_WORLD_RANK",
                "OMPI_COMM_WORLD_SIZE",
                "OMPI_COMM_WORLD_LOCAL_RANK",
            ],
            ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"],
            ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"],
        ] {
            let variables = [&[(rank, "2"), (size, "4")][..], &MASTER].concat();
            let mut expected = Place {
                rank: 2,
                size: 4,
                address: ("node-1".to_owned(), 29500),
                local_size: 1,
                local_rank: 2,
            };
            assert_eq!(place(&variables), Ok(expected.clone()), "{rank}");
            let variables = [&variables[..], &[(local_rank, "1")]].concat();
            expected.local_rank = 1;
            assert_eq!(place(&variables), Ok(expected), "{local_rank}");
        }
    }

    #[test]
    fn a_process_is_alone_without_a_launcher_in_a_batch_script_and_in_a_world_of_one() {
        for variables in [
            &[][..],
            &MASTER,
            &[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")],
            &[("RANK", "0"), ("WORLD_SIZE", "1")],
        ] {
            assert_eq!(place(variables), Ok(Place::alone()), "{variables:?}");
        }
    }

    #[test]
    fn the_port_that_torchrun_listens_at_itself_is_left_to_it() {
        let own = [
            ("RANK", "0"),
            ("WORLD_SIZE", "2"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            ("LOCAL_WORLD_SIZE", "2"),
        ];
        let place = place(&[&own[..], &MASTER].concat()).expect("a place");
        assert_eq!((place.address.1, place.local_size), (29501, 2));
    }

    #[test]
    fn what_is_half_set_or_no_number_is_named() {
        let both = [("RANK", "1"), ("WORLD_SIZE", "2")];
        for (variables, expected) in [
            (&[("RANK", "1")][..], "RANK is set but WORLD_SIZE is not; "),
            (
                &[("WORLD_SIZE", "2")],
                "WORLD_SIZE is set but RANK is not; ",
            ),
            (
                &[("SLURM_STEP_NUM_TASKS", "2")],
                "SLURM_STEP_NUM_TASKS is set but SLURM_PROCID is not; ",
            ),
            (
                &both,
                "MASTER_ADDR is not set; expected it with WORLD_SIZE = 2: ",
            ),
            (
                &[both[0], both[1], MASTER[0]],
                "MASTER_PORT is not set; expected it with WORLD_SIZE = 2: ",
            ),
            (
                &[("RANK", "2"), ("WORLD_SIZE", "2")],
                "RANK is `2`; expected a whole number from 0 to 1",
            ),
            (
                &[("RANK", "0"), ("WORLD_SIZE", "0")],
                "WORLD_SIZE is `0`; expected a whole number from 1",
            ),
            (
                &[both[0], both[1], MASTER[0], ("MASTER_PORT", "http")],
                "MASTER_PORT is `http`; expected a whole number from 1 to 65534",
            ),
        ] {
            let found = place(variables).expect_err("refused").to_string();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
