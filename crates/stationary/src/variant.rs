//! Which GRPO: its penalty, its groups, its normalisation.

use crate::StationaryError;

/// Completions of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// So many, 2 or more.
    Of(usize),
    /// The limit of ever larger groups.
    Large,
}

/// What holds the policy to the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// The estimate k3 of GRPO, whose gradient on-policy is that of `KL(π_ref ‖ π)`.
    K3,
    /// The divergence `KL(π ‖ π_ref)` itself.
    Kl,
}

/// What the centred rewards of a group are divided by. A group without spread has advantages of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The standard deviation of the group with divisor `g`, as in the paper (ddof 0).
    Population,
    /// That with divisor `g − 1`, as in TRL (ddof 1).
    Sample,
    /// Nothing, as in Dr. GRPO.
    None,
}

/// A variant of GRPO, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    pub(crate) beta: f64,
    pub(crate) group: Group,
    pub(crate) penalty: Penalty,
    pub(crate) scale: Scale,
}

impl Variant {
    /// The paper's GRPO: k3, population deviation.
    ///
    /// # Errors
    /// If β is not positive or the group holds fewer than two.
    pub fn new(beta: f64, group: Group) -> Result<Self, StationaryError> {
        if !(beta > 0.0 && beta.is_finite()) {
            return Err(StationaryError::Beta { found: beta });
        }
        if let Group::Of(found @ 0..=1) = group {
            return Err(StationaryError::Group { found });
        }
        Ok(Self {
            beta,
            group,
            penalty: Penalty::K3,
            scale: Scale::Population,
        })
    }

    /// The same with another penalty.
    #[must_use]
    pub fn with_penalty(self, penalty: Penalty) -> Self {
        Self { penalty, ..self }
    }

    /// The same with another normalisation.
    #[must_use]
    pub fn with_scale(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// The same with another weight of the penalty.
    ///
    /// # Errors
    /// If it is not positive.
    pub fn with_beta(self, beta: f64) -> Result<Self, StationaryError> {
        let Self { penalty, scale, .. } = self;
        let variant = Self::new(beta, self.group)?;
        Ok(variant.with_penalty(penalty).with_scale(scale))
    }

    /// The same with groups of another size.
    ///
    /// # Errors
    /// If it is below 2.
    pub fn with_group(self, group: Group) -> Result<Self, StationaryError> {
        let Self { penalty, scale, .. } = self;
        let variant = Self::new(self.beta, group)?;
        Ok(variant.with_penalty(penalty).with_scale(scale))
    }

    /// The completions of a group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The weight of the penalty.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// What the preference by population deviation is multiplied by: `√((G−1)/G)` for ddof 1,
    /// as if β were `β·√(G/(G−1))` \[D\].
    pub(crate) fn deviation_factor(&self) -> f64 {
        match (self.scale, self.group) {
            (Scale::Sample, Group::Of(group)) => ((group - 1) as f64 / group as f64).sqrt(),
            _ => 1.0,
        }
    }
}
