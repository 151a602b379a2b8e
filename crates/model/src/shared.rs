//! A model among the ranks of a run: what they add up, and what they compare.

use kernel::{Communicator, CudaError, Device, ID_BYTES};
use ranks::{RankError, Ranks};

use crate::Transformer;
use crate::decoder::{Parameters, tensors};
use crate::store::take;

/// How the ranks of a run add up their gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sums {
    /// Over TCP, in the order of the ranks, as processors do; one process adds nothing up.
    Tcp,
    /// As `Tcp`, though there are cards, whose gradients go through the memory of their hosts.
    TcpBetweenCards {
        /// Why.
        reason: String,
    },
    /// From card to card, by NCCL and in its order.
    Nccl {
        /// As `2.27.3`.
        version: String,
    },
}

/// What a rank has for sums between cards.
struct Offer {
    /// The card, in hexadecimal digits; empty where the rank computes on its processor.
    card: String,
    /// Why there is no NCCL; empty where there is.
    lack: String,
}

impl Offer {
    fn of(device: &Device) -> Self {
        let Device::Cuda(card) = device else {
            return Self {
                card: String::new(),
                lack: "it computes on its processor".to_owned(),
            };
        };
        let digits = card.uuid().map(|byte| format!("{byte:02x}"));
        Self {
            card: digits.concat(),
            lack: Communicator::version().map_or_else(|error| error.to_string(), |_| String::new()),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        format!("{}\n{}", self.card, self.lack).into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (card, lack) = text.split_once('\n').unwrap_or_default();
        Self {
            card: card.to_owned(),
            lack: lack.to_owned(),
        }
    }
}

/// Why these ranks do not add up by NCCL.
fn obstacle(offers: &[Offer]) -> Option<String> {
    for (rank, offer) in offers.iter().enumerate() {
        if !offer.lack.is_empty() {
            return Some(format!("rank {rank}: {}", offer.lack));
        }
        let same = |other: &Offer| other.card == offer.card;
        if let Some(first) = offers[..rank].iter().position(same) {
            return Some(format!(
                "ranks {first} and {rank} share a card, which NCCL refuses"
            ));
        }
    }
    None
}

impl Transformer {
    /// Prepares for sums with the other ranks: by NCCL where each has a card of its own and the
    /// library, or else over TCP. All ranks call this, once.
    ///
    /// # Errors
    /// Where a rank is lost, or NCCL is there and fails.
    pub fn connect(&mut self, ranks: &Ranks) -> Result<Sums, RankError> {
        if ranks.size() == 1 {
            return Ok(Sums::Tcp);
        }
        let device = self.device().clone();
        let offers = ranks.all_gather(&Offer::of(&device).to_bytes())?;
        let offers: Vec<Offer> = offers
            .iter()
            .map(|bytes| Offer::from_bytes(bytes))
            .collect();
        if offers.iter().all(|offer| offer.card.is_empty()) {
            return Ok(Sums::Tcp);
        }
        let (None, Device::Cuda(card)) = (obstacle(&offers), &device) else {
            let reason = obstacle(&offers).unwrap_or_default();
            return Ok(Sums::TcpBetweenCards { reason });
        };
        let failed = |error: CudaError| ranks.cause(&error.to_string());
        let own = if ranks.is_first() {
            Communicator::id().map_err(failed)?.to_vec()
        } else {
            Vec::new()
        };
        let id = ranks.all_gather(&own)?;
        let id: Result<[u8; ID_BYTES], _> = id[0].as_slice().try_into();
        let id = id.map_err(|_| ranks.cause("rank 0 sent no id of NCCL"))?;
        let goes_on = || ranks.are_whole();
        let communicator = Communicator::connect(card, id, ranks.rank(), ranks.size(), &goes_on)
            .map_err(failed)?;
        self.communicator = Some(communicator);
        let version = Communicator::version().map_err(failed)?;
        Ok(Sums::Nccl { version })
    }

    /// Hands what is trained to `read`, tensor after tensor, always in the same order: the
    /// adapters, or else every weight as Hugging Face stores it.
    pub fn read_trained(&self, mut read: impl FnMut(&[f32])) {
        if self.parameters.is_adapted() {
            for adapter in self.parameters.adapters() {
                read(&adapter.down_ik.to_vec());
                read(&adapter.up_ko.to_vec());
            }
            return;
        }
        for tensor in tensors(&self.config) {
            read(&take(&self.parameters, &tensor));
        }
    }
}

impl Parameters {
    /// Of a gradient: adds up those of all ranks, from card to card where there is a communicator,
    /// or else matrix after matrix.
    ///
    /// # Errors
    /// Where a rank is lost.
    pub(crate) fn sum_trained(
        &mut self,
        ranks: &Ranks,
        communicator: Option<&mut Communicator>,
    ) -> Result<(), RankError> {
        // A sum over one is no reason to copy a gradient to the host and back.
        if ranks.size() == 1 {
            return Ok(());
        }
        let matrices = self.trained_mut();
        if let Some(communicator) = communicator {
            let counts = matrices
                .iter()
                .map(|matrix| matrix.rows() * matrix.columns());
            ranks.line_up(counts.sum::<usize>() * size_of::<f32>())?;
            let summed = communicator.all_reduce(matrices, &|| ranks.are_whole());
            return summed.map_err(|error| ranks.cause(&error.to_string()));
        }
        for matrix in matrices {
            let mut values = matrix.to_vec();
            ranks.all_reduce(&mut values)?;
            matrix.write(&values);
        }
        Ok(())
    }
}
