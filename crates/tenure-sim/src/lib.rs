//! A deterministic simulator: the real core and the real storage code of a member on a simulated disk and clock.

pub mod disk;
pub mod random;
pub mod trace;
