//! Reads that never go back in time, over several members.
