//! Alarms, status, backups and other work of operators.
