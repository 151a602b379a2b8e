//! Every operation against PyTorch (`scripts/reference/torch_kernels.py`), against slow `f64`
//! references and their finite differences, and against itself on other numbers of threads.

mod attention;
mod cached;
mod card;
mod check;
mod glu;
mod head;
mod linear;
mod low_rank;
mod norms;
mod optimizer;
mod repeated;
mod rope;
mod rows;
mod sample;
mod softcap;
mod threads;
