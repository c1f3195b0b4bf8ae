//! How each kind of fault is done.

use super::fault::{Fault, Victim, minority};
use super::scene::Act;
use super::stage::Stage;
use crate::links::{Cut, Links, Way};
use crate::process::Server;
use anyhow::{Context, Result};
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A compaction leaves so many revisions for watchers that are behind.
const REVISIONS_KEPT: i64 = 3_000;
/// How long a link takes that is slow, and how much longer it may.
const SLOW: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(50));

impl Stage {
    /// Does one thing, and undoes it.
    ///
    /// * `is_alone`: whether nothing else happens meanwhile; if it does, what an operator asks for may fail.
    pub async fn play(&self, act: &Act, is_alone: bool) -> Result<()> {
        tokio::time::sleep(act.after).await;
        let random = &mut SmallRng::seed_from_u64(act.seed);
        let done = match act.fault {
            Fault::Kill(victim) => self.kill_one(act, victim, random).await,
            Fault::KillTwice(victim) => self.kill_twice(act, victim, random).await,
            Fault::KillAll => self.kill_all(),
            Fault::KillMajority => self.kill_majority(act, random).await,
            Fault::Freeze(victim) => self.freeze(act, victim, random).await,
            Fault::Stutter(victim) => self.stutter(act, victim, random).await,
            Fault::Terminate(victim) => self.terminate(act, victim, random).await,
            Fault::Cut(victim) => {
                self.cut(act, victim, random, |links, at| links.isolate(at, Way::Reset)).await
            }
            Fault::BlackHole(victim) => {
                self.cut(act, victim, random, |links, at| links.isolate(at, Way::Silent)).await
            }
            Fault::Mute(victim) => self.cut(act, victim, random, Links::mute).await,
            Fault::Deafen(victim) => self.cut(act, victim, random, Links::deafen).await,
            Fault::PartPair => {
                let leader = self.leader().await?;
                let part = |links: &Links, at| links.part(leader, at, Way::Silent);
                self.cut(act, Victim::Follower, random, part).await
            }
            Fault::Split(victim) => self.split(act, victim, random).await,
            Fault::SplitTwice => self.split_twice(act, random).await,
            Fault::Delay => self.delay(act).await,
            Fault::Wipe => self.lose_disk(random).await,
            Fault::Replace(victim) => self.replace(victim, random).await,
            Fault::Compact => self.compact(random).await,
            Fault::FillDisk => self.fill_disk(act).await,
            Fault::MoveLeader => self.move_leader(random).await,
            Fault::Defragment(victim) => self.operator.defragment(self.find(victim, random).await?).await,
            Fault::SaveSnapshot(victim) => {
                self.operator.save_snapshot(self.find(victim, random).await?).await
            }
        };
        match (done, act.fault) {
            (Err(error), Fault::MoveLeader | Fault::Defragment(_) | Fault::SaveSnapshot(_)) if !is_alone => {
                self.record.failure(format!("{}: {error:#}", act.fault));
                Ok(())
            }
            (done, _) => done.with_context(|| act.fault.to_string()),
        }
    }

    async fn kill_one(&self, act: &Act, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(victim, random).await?;
        self.kill(taken.first())?;
        tokio::time::sleep(act.lasts).await;
        self.launch(taken.first())
    }

    async fn kill_twice(&self, act: &Act, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(victim, random).await?;
        let at = taken.first();
        self.kill(at)?;
        tokio::time::sleep(act.lasts).await;
        for _ in 0..2 {
            self.launch(at)?;
            self.pause(0..800, random).await;
            self.kill(at)?;
        }
        self.launch(at)
    }

    fn kill_all(&self) -> Result<()> {
        (0..self.members()).try_for_each(|at| self.kill(at))?;
        (0..self.members()).try_for_each(|at| self.launch(at))
    }

    async fn kill_majority(&self, act: &Act, random: &mut SmallRng) -> Result<()> {
        let members = self.members();
        let mut places: Vec<_> = (0..members).collect();
        places.shuffle(random);
        let (majority, rest) = places.split_at(members / 2 + 1);
        majority.iter().try_for_each(|at| self.kill(*at))?;
        tokio::time::sleep(act.lasts / 2).await;
        majority.iter().try_for_each(|at| self.launch(*at))?;
        self.pause(0..1_000, random).await;
        // A majority of those who were killed, or with some of those who were not: what was acknowledged is known to either.
        let side = match random.random() {
            true => rest.to_vec(),
            false => majority[..minority(members)].to_vec(),
        };
        let split = self.with_links(|links| links.split(&side))?;
        tokio::time::sleep(act.lasts).await;
        self.with_links(|links| links.undo(split))
    }

    async fn freeze(&self, act: &Act, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(victim, random).await?;
        self.with_server(taken.first(), |server| server.freeze())?;
        tokio::time::sleep(act.lasts).await;
        self.with_server(taken.first(), |server| server.thaw())
    }

    async fn stutter(&self, act: &Act, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(victim, random).await?;
        let end = Instant::now() + act.lasts;
        while Instant::now() < end {
            self.with_server(taken.first(), |server| server.freeze())?;
            self.pause(20..400, random).await;
            self.with_server(taken.first(), |server| server.thaw())?;
            self.pause(5..100, random).await;
        }
        Ok(())
    }

    async fn terminate(&self, act: &Act, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(victim, random).await?;
        self.with_server(taken.first(), |server| server.request_stop())?;
        self.outlive(taken.first()).await?;
        tokio::time::sleep(act.lasts).await;
        self.launch(taken.first())
    }

    async fn cut(
        &self,
        act: &Act,
        victim: Victim,
        random: &mut SmallRng,
        cut: impl FnOnce(&Links, usize) -> Cut,
    ) -> Result<()> {
        let taken = self.take(victim, random).await?;
        let cut = self.with_links(|links| cut(links, taken.first()))?;
        tokio::time::sleep(act.lasts).await;
        self.with_links(|links| links.undo(cut))
    }

    async fn delay(&self, act: &Act) -> Result<()> {
        let delay = self.with_links(|links| links.delay(SLOW.0, SLOW.1))?;
        tokio::time::sleep(act.lasts).await;
        self.with_links(|links| links.undo(delay))
    }

    /// A largest minority: whoever leads or somebody who does not, and followers.
    async fn side(&self, victim: Victim, random: &mut SmallRng) -> Result<Vec<usize>> {
        let leader = self.leader().await?;
        let followers = self.free().into_iter().filter(|at| *at != leader);
        let mut side = followers.sample(random, minority(self.members()));
        if victim == Victim::Leader {
            side.truncate(minority(self.members()) - 1);
            side.push(leader);
        }
        Ok(side)
    }

    async fn split(&self, act: &Act, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let side = self.side(victim, random).await?;
        let _taken = self.try_take(&side).context("a split hurts everybody who may be hurt")?;
        self.record.strike();
        let split = self.with_links(|links| links.split(&side))?;
        tokio::time::sleep(act.lasts).await;
        self.with_links(|links| links.undo(split))
    }

    async fn split_twice(&self, act: &Act, random: &mut SmallRng) -> Result<()> {
        let either = |random: &mut SmallRng| match random.random() {
            true => Victim::Leader,
            false => Victim::Follower,
        };
        let first = self.side(either(random), random).await?;
        let taken = self.try_take(&first).context("a split hurts everybody who may be hurt")?;
        self.record.strike();
        let split = self.with_links(|links| links.split(&first))?;
        tokio::time::sleep(act.lasts).await;
        // One of the majority parts with the members it has, and takes some of the minority along.
        let one = self.find(either(random), random).await?;
        drop(taken);
        let second: Vec<_> = [one].into_iter().chain(first.into_iter().skip(1)).collect();
        let _taken = self.try_take(&second).context("a split hurts everybody who may be hurt")?;
        self.record.strike();
        self.with_links(|links| links.split_anew(split, &second))?;
        tokio::time::sleep(act.lasts).await;
        self.with_links(|links| links.undo(split))
    }

    async fn lose_disk(&self, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(Victim::Follower, random).await?;
        let at = taken.first();
        self.kill(at)?;
        self.wipe(at)?;
        self.operator.remove(at, || self.somebody()).await?;
        self.operator.add(at, || self.somebody(), false).await?;
        self.join(at).await
    }

    async fn replace(&self, victim: Victim, random: &mut SmallRng) -> Result<()> {
        let taken = self.take(victim, random).await?;
        let at = taken.first();
        self.operator.remove(at, || self.somebody()).await?;
        self.outlive(at).await.context("a member that was removed does not end")?;
        self.wipe(at)?;
        self.operator.add(at, || self.somebody(), true).await?;
        self.join(at).await?;
        self.operator.promote(at, || self.somebody()).await
    }

    async fn move_leader(&self, random: &mut SmallRng) -> Result<()> {
        let from = self.leader().await?;
        let to = self.other_than(from, random)?;
        self.operator.move_leader(from, to, || self.somebody()).await
    }

    async fn compact(&self, random: &mut SmallRng) -> Result<()> {
        let revision = *self.told.borrow() - REVISIONS_KEPT;
        if revision <= self.compacted.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.operator.compact(revision, random.random(), || self.somebody()).await?;
        self.compacted.store(revision, Ordering::Relaxed);
        Ok(())
    }

    async fn fill_disk(&self, act: &Act) -> Result<()> {
        let at = self.members() - 1;
        let _taken = self.try_take(&[at]).context("its disk is full before anything else happens")?;
        let disk = self.disk.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        self.record.strike();
        disk.fill()?;
        tokio::time::sleep(act.lasts).await;
        disk.free()?;
        // It may have found nothing to write in that time.
        if self.with_server(at, Server::has_ended)? {
            self.outlive(at).await?;
            self.launch(at)?;
        }
        Ok(())
    }
}
