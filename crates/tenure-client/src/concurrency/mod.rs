//! What several programs do together: sessions, locks, elections, transactional memory, barriers, queues.
