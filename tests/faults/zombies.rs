//! Several owners of one shard, each of which believes that it is the only one.

use crate::campaign::{Campaign, Extent, Trial};
use crate::work::{Work, new_ledger, place, wait};
use ledger::{ErrorKind, LedgerError, ShardWriter};
use std::path::Path;
use std::thread;

const OWNERS: usize = 4;
/// Commits of a trial's shard.
const COMMITS: i64 = 100;

pub const CAMPAIGNS: &[Campaign] = &[Campaign {
    name: "zombies",
    what: "four owners of one shard at once, 100 commits a trial",
    trials: |extent| if extent == Extent::Full { 100 } else { 3 },
    threads: 1,
    run,
}];

fn run(trial: &mut Trial) {
    let folder = trial.folder().to_owned();
    new_ledger(&folder);
    let work = Work::new(COMMITS * 2, 2);
    let owners: Vec<_> = thread::scope(|scope| {
        let owners: Vec<_> = (0..OWNERS).map(|_| scope.spawn(|| wait(own(&folder, &work)))).collect();
        owners.into_iter().map(|owner| owner.join().expect("an owner does not panic")).collect()
    });
    let mut commits = 0;
    for owner in owners {
        match owner {
            Ok(owned) => {
                commits += owned.commits;
                trial.injected(owned.fenced);
            }
            Err(error) => trial.failed(format!("an owner stopped: {error}")),
        }
    }
    let audit = trial.audit(&folder, &work.expected());
    let found = audit.shards.first().map(|shard| shard.commits);
    if found != Some(commits) {
        trial.failed(format!("the owners were told of {commits} commits, and there are {found:?}"));
    }
}

struct Owned {
    commits: u64,
    fenced: u64,
}

/// Commits until the work is done, and whenever it is fenced begins anew, as a restarted process
/// does.
async fn own(folder: &Path, work: &Work) -> Result<Owned, LedgerError> {
    let mut owned = Owned { commits: 0, fenced: 0 };
    let mut ledger = ShardWriter::open(&place(folder)).await?;
    loop {
        match work.step(&mut ledger).await {
            Ok(Some(_)) => owned.commits += 1,
            Ok(None) => return Ok(owned),
            Err(error) if error.kind() == ErrorKind::Fenced => {
                owned.fenced += 1;
                ledger = ShardWriter::open(&place(folder)).await?;
            }
            Err(error) => return Err(error),
        }
    }
}
