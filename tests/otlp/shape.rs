//! The shape of a trace: every kind of span of the catalogue where it belongs.

use tokio::time::sleep;
use volery::prelude::*;
use volery::{Fault, Publish};

use crate::support::{MS, Note, Order, Payment, Receipt, Tested, Watched, order, payment, tree};

/// Joins orders and payments; fails the first attempt.
fn settle() -> Agent {
    Agent::new("settle")
        .consumes(join(by(|o: &Order| o.key), by(|p: &Payment| p.key)).within(1_000 * MS))
        .retry(Retry::fixed(2, 20 * MS))
        .engine(async |(order, _): (Order, Payment), context: Context| {
            sleep(5 * MS).await;
            if context.attempt() == 1 {
                return Err::<_, Fault>("the bank says no".into());
            }
            Ok(Publish(Receipt { key: order.key, n: order.n }))
        })
}

fn mail() -> Agent {
    Agent::new("mail").consumes(one::<Receipt>()).engine(async |_: Receipt, _: Context| {
        sleep(7 * MS).await;
        Ok::<_, Fault>(())
    })
}

fn audit() -> Agent {
    Agent::new("audit").consumes(one::<Receipt>().batch(Batch::of(10).or_after(15 * MS))).engine(
        async |_: Vec<Receipt>, _: Context| {
            sleep(3 * MS).await;
            Err::<(), Fault>("no paper".into())
        },
    )
}

/// The shape of the run. No span stands below a publish; the cause of a job is a link.
const CHECKOUT: &str = "\
run checkout ERROR volery.run.status=failed
  publish Order (producer)
  run started
  join settle -> publish Order -> publish Payment
  publish Payment (producer)
  job settle volery.outcome=ok !retry.scheduled -> join settle
    attempt settle (consumer) ERROR volery.outcome=failed !exception
      evaluate settle ERROR volery.outcome=failed !exception
    backoff
    attempt settle (consumer) volery.outcome=ok
      evaluate settle volery.outcome=ok
      publish Receipt (producer)
  job mail volery.outcome=ok -> publish Receipt
    attempt mail (consumer) volery.outcome=ok
      evaluate mail volery.outcome=ok
  batch audit -> publish Receipt
  job audit ERROR volery.outcome=dead !exception -> batch audit
    attempt audit (consumer) ERROR volery.outcome=failed !exception
      evaluate audit ERROR volery.outcome=failed !exception
  dead_letter Failure (producer)
run Note volery.run.status=completed
  publish Note (producer)
  run started
";

#[tokio::test(start_paused = true)]
async fn a_run_has_every_kind_of_span_where_it_belongs() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agents([settle(), mail(), audit()]).start().await?;
    let run = volery.run("checkout").publish(order(7)).await?;
    sleep(2 * MS).await;
    run.publish(payment(7)).await?;
    run.settled().await?;
    drop(run);
    volery.publish(Note { key: 1, n: 1 }).await?;
    let report = volery.shutdown().await?;
    assert!(report.is_graceful(), "{report}");
    assert_eq!(tree(&watched.spans()), CHECKOUT);
    Ok(())
}
