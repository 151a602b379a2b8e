//! Matrix products over strided views.
