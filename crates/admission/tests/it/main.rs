//! Admission over a real record: what enters, what does not, and what a machine makes of it.

mod fleet;
mod refusals;
mod roots;
mod writes;
