//! What several programs do together.

mod stm;
