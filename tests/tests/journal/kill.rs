//! `kill -9` at random moments under load: what was acknowledged is there after the restart, and nothing twice.

use std::sync::Arc;
use std::time::Duration;

use super::book::{Book, lay_ground};
use super::local::Local;

/// Clients that write at the same time.
const CLIENTS: usize = 8;

/// Kills, and writes between two of them, unless the environment says otherwise: `script/soak.d/durability` asks
/// for 200 kills and 10,000 writes.
const KILLS: usize = 40;
const WRITES_PER_KILL: usize = 50;

/// Longest time by which a kill comes after the write that was waited for, in microseconds: about as long as a write
/// takes, so that it strikes at any point of one.
const DELAY_MICROS_MAX: u64 = 4_000;

fn from_environment(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |value| value.parse().expect("a number"))
}

/// The same sequence for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_keeps_what_it_acknowledged() {
    let kills = from_environment("ECSR_TEST_KILLS", KILLS);
    let per_kill = from_environment("ECSR_TEST_WRITES", kills * WRITES_PER_KILL).div_ceil(kills);
    let seed = from_environment("ECSR_TEST_SEED", 1);
    let mut random = Random(seed.try_into().expect("a seed has 64 bits"));
    println!("{kills} kills, about {per_kill} writes before each, seed {seed}");

    let mut local = Local::prepare();
    local.start().await;
    lay_ground(&local.api, CLIENTS).await;
    let instance = local.register_instance().await;
    let book = Arc::new(Book::default());
    for _ in 0..kills {
        local.connect_agent(&instance).await;
        let writes = usize::try_from(random.below(2 * u64::try_from(per_kill).expect("it is small")))
            .expect("so is this");
        let until = book.count() + writes.max(1);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let (book, api) = (book.clone(), local.api.clone());
            clients.spawn(async move { book.write_on(&api, client).await });
        }
        tokio::select! {
            () = book.reaches(until) => {}
            // Clients end when the scheduler does, and it was not to.
            Some(ended) = clients.join_next() => panic!("a client ended before the kill: {ended:?}"),
        }
        // Not for something to happen, but for the kill to strike at no moment in particular.
        tokio::time::sleep(Duration::from_micros(random.below(DELAY_MICROS_MAX))).await;
        local.kill();
        while let Some(client) = clients.join_next().await {
            client.expect("a client ends when the scheduler is gone");
        }
        local.start().await;
        local.connect_agent(&instance).await;
        book.settle(&local.api).await;
    }
    book.audit(&local.api).await;
    println!("{} acknowledged writes are there after {kills} kills", book.count());
}
