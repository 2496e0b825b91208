//! Admission over a real record: what enters, what does not, and what a machine makes of it.

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod inbox;
#[cfg(test)]
mod proposals;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod roots;
#[cfg(test)]
mod writes;
