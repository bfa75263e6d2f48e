//! Peers: other libraries for jobs with the load of the benches, beside Volery, in one run.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` prints, for each library and kind of store,
//! orders per second, the processor time of the whole process per order, and how both compare with Volery:
//! medians of rounds that alternate between the libraries, and medians of the rounds' own ratios, because
//! machines are shared. Every measurement is a process of its own with two worker threads.
//! `VOLERY_BENCH_ROUNDS` (default 5) is the number of rounds. With `--test` there is one, of small loads.
//!
//! On SQLite every library keeps a write-ahead log and syncs every commit. Volery does so by default; for
//! the others see `theirs.rs` and `effectum/`. Volery publishes each parcel as an artifact, in the commit
//! that ends the job; the others keep it as the job's result.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod load;
mod ours;
mod theirs;

/// Without pragmas of the pager effectum cannot set `synchronous` to NORMAL, and keeps the default, FULL.
/// VACUUM still calls a function that is gone with them; the second flag makes an assignment of that call.
const SQLITE_OF_EFFECTUM: &str = "-DSQLITE_OMIT_PAGER_PRAGMAS -Dsqlite3BtreeSetPagerFlags(a,b)=pager_flags=0";

#[derive(Clone, Copy, PartialEq)]
enum Library {
    Volery,
    ApalisBare,
    ApalisEquipped,
    ApalisSqlite,
    Effectum,
}

impl Library {
    const fn name(self) -> &'static str {
        match self {
            Self::Volery => "Volery",
            Self::ApalisBare => "apalis, bare",
            Self::ApalisEquipped => "apalis, equipped",
            Self::ApalisSqlite => "apalis-sqlite",
            Self::Effectum => "effectum",
        }
    }
}

/// One library with one store and one number of slots, and what was measured of it in each round.
struct Way {
    library: Library,
    durable: bool,
    slots: u32,
    count: u64,
    rounds: Vec<Round>,
}

struct Round {
    per_second: f64,
    /// Microseconds of processor time for each order.
    processor: f64,
}

impl Way {
    const fn new(library: Library, durable: bool, slots: u32, count: u64) -> Self {
        Self { library, durable, slots, count, rounds: Vec::new() }
    }

    /// The first way of each kind of store is Volery's. Counts are such that a measurement takes a second or
    /// a few.
    fn all() -> Vec<Self> {
        let mut all = vec![
            Self::new(Library::Volery, false, 256, 200_000),
            Self::new(Library::ApalisBare, false, 256, 200_000),
            Self::new(Library::ApalisEquipped, false, 256, 200_000),
        ];
        for slots in [8, 256] {
            all.push(Self::new(Library::Volery, true, slots, 20_000));
            all.push(Self::new(Library::Effectum, true, slots, 20_000));
            all.push(Self::new(Library::ApalisSqlite, true, slots, 1_000));
        }
        all
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.durable, self.slots) == (other.durable, other.slots)
    }

    fn arguments(&self) -> [String; 4] {
        let file = if self.durable { file().display().to_string() } else { "-".to_owned() };
        [self.library.name().to_owned(), file, self.slots.to_string(), self.count.to_string()]
    }

    /// Starts a process of its own, which prints nanoseconds of wall time and of processor time.
    fn measure(&mut self, own: &Path, effectum: &Path) {
        if self.durable {
            make_file();
        }
        let arguments = self.arguments();
        let mut child = match self.library {
            Library::Effectum => Command::new(effectum),
            _ => Command::new(own),
        };
        // effectum's program knows one library.
        let first = usize::from(self.library == Library::Effectum);
        let output = child.args(&arguments[first..]).stderr(Stdio::inherit()).output();
        let output = output.expect("the program can be started");
        let name = self.library.name();
        assert!(output.status.success(), "{name} failed: {}", output.status);
        let text = String::from_utf8(output.stdout).expect("it prints text");
        let times: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [wall, processor] = times[..] else { panic!("{name} printed {text:?}") };
        let count = self.count as f64;
        self.rounds.push(Round { per_second: count * 1e9 / wall, processor: processor / 1e3 / count });
    }

    fn print(&self, ours: &Self) {
        let of = |value: fn(&Round) -> f64| median(self.rounds.iter().map(value).collect());
        let ratio = |value: fn(&Round) -> f64| {
            median(ours.rounds.iter().zip(&self.rounds).map(|(ours, own)| value(ours) / value(own)).collect())
        };
        let store = if self.durable { "SQLite" } else { "memory" };
        println!(
            "{store}, {:>3} slots   {:<16}   {:>7.0}/s   {:>7.2} µs   Volery: {:>5.2} of its rate, {:>5.2} of its processor time",
            self.slots,
            self.library.name(),
            of(|round| round.per_second),
            of(|round| round.processor),
            ratio(|round| round.per_second),
            ratio(|round| round.processor),
        );
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The folder of the program lies on a disk; one for temporary files may be in memory.
fn file() -> PathBuf {
    let own = std::env::current_exe().expect("the program knows where it is");
    own.with_file_name("volery-peers-files").join("jobs.db")
}

/// Makes a new file in a folder that is emptied first.
fn make_file() {
    let file = file();
    let folder = file.parent().expect("it lies in a folder");
    drop(std::fs::remove_dir_all(folder).err());
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.expect("it can be built").block_on(theirs::make_file(&file));
}

/// Builds the program of effectum, and says where it is.
fn effectum() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs this program");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/effectum/Cargo.toml");
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--message-format",
        "json",
        "--manifest-path",
        manifest,
    ]);
    let output = build.env("LIBSQLITE3_FLAGS", SQLITE_OF_EFFECTUM).stderr(Stdio::inherit()).output();
    let output = output.expect("cargo can be started");
    assert!(output.status.success(), "the program of effectum does not build");
    let executable = |line: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    };
    output.stdout.split(|byte| *byte == b'\n').find_map(executable).expect("cargo names the program")
}

/// One measurement, in a process of its own.
fn child(library: &str, file: &str, slots: u32, count: u64) {
    let file = Path::new(file);
    let ways = Way::all();
    let way = ways.iter().find(|way| way.library.name() == library).expect("a library that there is");
    let durable = (file != Path::new("-")).then_some(file);
    let many = slots as usize;
    let taken = match way.library {
        Library::Volery => load::measured(count, |count| ours::run(count, slots, durable)),
        Library::ApalisBare => load::measured(count, |count| theirs::bare(count, many)),
        Library::ApalisEquipped => load::measured(count, |count| theirs::equipped(count, many)),
        Library::ApalisSqlite => load::measured(count, |count| theirs::on_sqlite(count, many, file)),
        Library::Effectum => unreachable!("it has a program of its own"),
    };
    println!("{}", taken.line());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [library, file, slots, count] = &arguments[..] {
        let slots = slots.parse().expect("a number of slots");
        return child(library, file, slots, count.parse().expect("a number of orders"));
    }
    let smoke = arguments.iter().any(|argument| argument == "--test");
    let rounds = std::env::var("VOLERY_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let rounds = if smoke { 1 } else { rounds };
    let mut ways = Way::all();
    if smoke {
        ways.iter_mut().for_each(|way| way.count /= 100);
    }
    let own = std::env::current_exe().expect("the program knows where it is");
    let effectum = effectum();
    for _ in 0..rounds {
        ways.iter_mut().for_each(|way| way.measure(&own, &effectum));
    }
    for way in &ways {
        let ours = ways.iter().find(|other| other.is_like(way)).expect("the first is Volery's");
        way.print(ours);
    }
}
