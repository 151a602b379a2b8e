//! The transformer as verification sees it: its parameters as one vector, in the order of the
//! table of names, each tensor as Hugging Face stores it.

use std::convert::Infallible;

use policy::{PolicyError, Probe};

use crate::Transformer;
use crate::decoder::{Parameters, tensors};
use crate::learning::Training;
use crate::store::{put, take};

impl Transformer {
    /// Name and shape of every tensor, in the order in which [`Probe::parameters`] holds them; a
    /// matrix is `[out, in]`.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let table = tensors(&self.config).into_iter();
        table.map(|tensor| (tensor.name, tensor.shape)).collect()
    }

    /// The gradient gathered so far.
    pub(crate) fn gathered(&self) -> &Parameters {
        let gradient = self.training.as_ref().and_then(Training::gradient);
        gradient.expect("a backward pass came before")
    }

    fn flat(&self, parameters: &Parameters) -> Vec<f64> {
        assert!(
            self.adapter().is_none(),
            "a probe sees whole weights; merge adapters before"
        );
        let table = tensors(&self.config);
        let values = table.iter().flat_map(|tensor| take(parameters, tensor));
        values.map(f64::from).collect()
    }
}

impl Probe for Transformer {
    fn parameters(&self) -> Vec<f64> {
        self.flat(&self.parameters)
    }

    fn set_parameters(&mut self, values: &[f64]) {
        let table = tensors(&self.config);
        let mut end = 0;
        let mut ranges = Vec::with_capacity(table.len());
        for tensor in &table {
            let start = end;
            end += tensor.shape.iter().product::<usize>();
            ranges.push(start..end);
        }
        assert_eq!(values.len(), end, "one value for each parameter");
        let device = self.device().clone();
        let built = Parameters::build(&self.config, &device, |place, rows, columns| {
            let mut matrix = vec![0.0; rows * columns];
            let own = table.iter().zip(&ranges);
            for (tensor, range) in own.filter(|(tensor, _)| tensor.place == place) {
                let narrow: Vec<f32> = values[range.clone()].iter().map(|&v| v as f32).collect();
                put(&mut matrix, columns, tensor, 0, &narrow);
            }
            Ok::<_, Infallible>(matrix)
        });
        let Ok(parameters) = built;
        self.parameters = parameters;
        self.training = None;
    }

    fn gradient(&self) -> Vec<f64> {
        self.flat(self.gathered())
    }

    fn logits_tv(&self, prefix: &[u32], tokens_t: &[u32]) -> Result<Vec<Vec<f64>>, PolicyError> {
        let read = &tokens_t[..tokens_t.len().saturating_sub(1)];
        let logits = self.logits(&[prefix, read].concat())?;
        let rows = logits.chunks(self.config.vocabulary);
        let wide = |row: &[f32]| row.iter().map(|&logit| f64::from(logit)).collect();
        Ok(rows.skip(prefix.len() - 1).map(wide).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kernel::Device;

    use super::*;
    use crate::Source;

    #[test]
    fn parameters_written_back_change_no_logit() {
        for family in ["llama", "qwen2", "qwen3"] {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("tests/fixtures")
                .join(family);
            let source = Source::Folder(folder);
            let mut model = Transformer::open(&source, &Device::cpu(Some(1))).unwrap();
            let (before, parameters) = (model.logits(&[3, 1, 2]).unwrap(), model.parameters());
            let sizes = model.tensors().into_iter();
            let count: usize = sizes
                .map(|(_, shape)| shape.iter().product::<usize>())
                .sum();
            assert_eq!(parameters.len(), count, "{family}");
            model.set_parameters(&vec![0.5; parameters.len()]);
            assert_ne!(model.logits(&[3, 1, 2]).unwrap(), before, "{family}");
            model.set_parameters(&parameters);
            assert_eq!(model.logits(&[3, 1, 2]).unwrap(), before, "{family}");
            let rows = model.logits_tv(&[3, 1], &[2, 0]).unwrap();
            let last = rows.last().unwrap().iter();
            let expected = &before[before.len() - rows[0].len()..];
            assert!(
                rows.len() == 2
                    && last
                        .zip(expected)
                        .all(|(a, &b)| (a - f64::from(b)).abs() < 1e-5)
            );
        }
    }
}
