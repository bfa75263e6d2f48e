//! Places: where a test keeps its store, over as many lives of the process as it wants.
//!
//! Each life has a store of its own before the same data, so that one life can be made to fail without the
//! next.

use volery::Memory;
use volery::prelude::*;
use volery::testing::FailingStore;

use crate::support::{Tested, soon, turns};

/// Where data outlives the process, as far as a test can tell.
#[derive(Debug)]
pub(crate) enum Place {
    /// In memory that the lives of the process share.
    Memory(FailingStore),
    /// In a file.
    #[cfg(feature = "sqlite")]
    File(std::path::PathBuf),
}

impl Place {
    pub(crate) fn memory() -> Self {
        let lasting = FailingStore::over(Memory::new());
        lasting.stay_open();
        lasting.outlive_process();
        Self::Memory(lasting)
    }

    /// As [`Self::memory`], with starts of jobs that are not recorded before their attempts have lasted.
    pub(crate) fn with_late_records() -> Self {
        let lasting = FailingStore::over(Memory::new());
        lasting.stay_open();
        Self::Memory(lasting)
    }

    /// A file that no other test uses, and that is not there yet.
    #[cfg(feature = "sqlite")]
    pub(crate) fn file(name: &str) -> Self {
        let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("place").join(name);
        drop(std::fs::remove_dir_all(&folder).err());
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Self::File(folder.join("store.db"))
    }

    /// The store of one more life, as soon as the life before has left it.
    pub(crate) async fn store(&self) -> FailingStore {
        match self {
            Self::Memory(lasting) => FailingStore::over(lasting.clone()),
            #[cfg(feature = "sqlite")]
            Self::File(path) => {
                let opened = async {
                    loop {
                        match open(path) {
                            Err(volery::store::StoreError::InUse { .. }) => tokio::task::yield_now().await,
                            opened => return opened.expect("it opens"),
                        }
                    }
                };
                FailingStore::over(soon(opened).await)
            }
        }
    }
}

/// Opens a file that does not wait for the disk: processes die here, machines do not.
#[cfg(feature = "sqlite")]
pub(crate) fn open(path: &std::path::Path) -> Result<volery::Sqlite, volery::store::StoreError> {
    volery::Sqlite::options(path).durability(volery::sqlite::Durability::OsCrashMayLoseLastMs).open()
}

/// Lets a process die: nothing more of it is written.
pub(crate) async fn die(volery: Volery, store: &FailingStore) {
    store.refuse_writes();
    drop(volery);
    turns().await;
}

/// Ends a process in order, without waiting for what runs: it is handed back.
pub(crate) async fn hand_back(volery: Volery) -> Tested {
    assert!(volery.interrupt() && volery.interrupt(), "it was not stopping");
    soon(volery.stopped()).await?;
    Ok(())
}

/// Makes two tests of each rule: over memory and paused time, and over a file, whose threads paused time
/// would not wait for.
macro_rules! over_every_store {
    ($($rule:ident,)+) => {
        mod memory {
            $(
                #[tokio::test(start_paused = true)]
                async fn $rule() -> crate::support::Tested {
                    super::$rule(&crate::place::Place::memory()).await
                }
            )+
        }

        #[cfg(feature = "sqlite")]
        mod file {
            $(
                #[tokio::test]
                async fn $rule() -> crate::support::Tested {
                    let home = concat!(module_path!(), "::", stringify!($rule)).replace("::", "-");
                    super::$rule(&crate::place::Place::file(&home)).await
                }
            )+
        }
    };
}

pub(crate) use over_every_store;
