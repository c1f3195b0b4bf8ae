//! Authentication over whole members and clusters: what every method asks for, tokens and their ends, what the log says, and what a flood
//! of log-ins does.

mod cluster;
mod load;
mod methods;
mod secrets;
mod support;
mod tokens;
