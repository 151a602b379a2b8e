//! Loops over `f32` that the compiler turns into the widest vectors the processor has.
