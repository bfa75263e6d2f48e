//! An engine with state: a value that lives between jobs, and that is made anew after a panic.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Word {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Numbered {
    number: u32,
    text: String,
}

/// Numbers words. An engine is shared by all attempts that run at once, so its state is behind atomics or
/// locks.
struct Register {
    next: AtomicU32,
}

impl Engine<Word> for Register {
    type Output = Publish<Numbered>;

    async fn run(&self, word: Word, context: Context) -> Result<Publish<Numbered>, Fault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(word.text != "boom" || context.attempt() > 1, "the register is torn");
        Ok(Publish(Numbered { number, text: word.text }))
    }
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let registers_made = Arc::new(AtomicU32::new(0));
    let made = Arc::clone(&registers_made);
    // `engine_with` takes a factory, because a panic may leave the state half-changed.
    let registrar = Agent::new("registrar")
        .consumes(one::<Word>())
        .concurrency(1)
        .retry(Retry::fixed(2, Duration::from_millis(10)))
        .engine_with(move || {
            made.fetch_add(1, Ordering::Relaxed);
            Register { next: AtomicU32::new(1) }
        });
    let volery = Volery::builder("words").agent(registrar).start().await?;

    let run = volery.run("register").open();
    for text in ["one", "two", "boom"] {
        run.publish(Word { text: text.into() }).await?;
        run.settled().await?;
    }

    let numbered: Vec<Numbered> = run.artifacts().await?;
    for word in &numbered {
        println!("{} {}", word.number, word.text);
    }
    // The state was kept from "one" to "two". The attempt that panicked took its register with it, and only
    // that.
    assert_eq!(numbered.iter().map(|word| word.number).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(registers_made.load(Ordering::Relaxed), 2);

    volery.shutdown().await?;
    Ok(())
}
