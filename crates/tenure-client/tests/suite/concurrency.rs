//! Sessions, locks, elections, transactional memory and recipes.
