//! What several programs do together: sessions, locks, elections, transactional memory, barriers, queues.
//!
//! * [`Session`]: a lease that is kept alive, on which the others hold what they hold.
//! * [`Mutex`], [`RwMutex`]: locks over all programs of a cluster.
//! * [`Election`]: one leader over all programs of a cluster.
//! * [`Barrier`], [`DoubleBarrier`]: waiting for one, waiting for each other.
//! * [`Queue`], [`PriorityQueue`]: each value for one who takes it.
//! * [`Stm`]: reads and writes of an async closure as one transaction, run again when others changed what it read.
//!
//! Keys and protocols are those of etcd's Go packages `concurrency` and `recipes`, so programs in both languages work together.

mod barrier;
mod double_barrier;
mod election;
mod line;
mod mutex;
mod queue;
mod rw_mutex;
mod session;
mod stm;

pub use barrier::Barrier;
pub use double_barrier::{DoubleBarrier, DoubleBarrierGuard};
pub use election::{Election, LeaderResponse, LeaderStream, Leadership};
pub use line::Hold;
pub(crate) use line::deleted;
pub use mutex::{Mutex, MutexGuard};
pub use queue::{PriorityQueue, Queue};
pub use rw_mutex::RwMutex;
pub use session::{Session, SessionBuilder};
pub use stm::{Isolation, Stm, StmResponse, StmTxn};
