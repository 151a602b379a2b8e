//! A model among the ranks of a run: what they add up, and what they compare.

use ranks::{RankError, Ranks};

use crate::Transformer;
use crate::decoder::{Parameters, tensors};
use crate::store::take;

impl Parameters {
    /// Of a gradient: adds up those of all ranks, matrix after matrix.
    ///
    /// # Errors
    /// Where a rank is lost.
    pub(crate) fn sum_trained(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        // A sum over one is no reason to copy a gradient to the host and back.
        if ranks.size() == 1 {
            return Ok(());
        }
        for matrix in self.trained_mut() {
            let mut values = matrix.to_vec();
            ranks.all_reduce(&mut values)?;
            matrix.write(&values);
        }
        Ok(())
    }
}

impl Transformer {
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
