//! Backups: a bbolt file with its checksum, made from a store and read into one.
