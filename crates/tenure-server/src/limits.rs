//! Every bound of the server in one place, with the relations that must hold between them.
