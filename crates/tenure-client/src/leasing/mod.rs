//! Keys that a client owns and reads from its memory.
