//! The last phase of a stop: the export of what is left.

use std::net::TcpListener;

use volery::prelude::*;
use volery::report::{Phase, PhaseStatus};
use volery::telemetry::{Environment, Otlp, init};

use crate::support::{LIMIT, Tested, order};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_whose_receiver_is_gone_is_told_and_exits_with_0() -> Tested {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let set_up = init("shop").environment(Environment::empty()).otlp(Otlp::http().endpoint(endpoint));
    let telemetry = set_up.start().expect("the endpoint is well formed");
    let volery = Volery::builder("shop").telemetry(telemetry.providers());
    let volery = volery.configure(|settings| settings.shutdown_within = LIMIT).start().await?;
    volery.publish(order(1)).await?;
    let report = volery.shutdown().await?;
    let row = report.phase(Phase::Telemetry).expect("there is such a phase");
    assert!(matches!(row.status, PhaseStatus::Failed(_)), "{report}");
    assert_eq!((row.completed, row.remaining), (0, row.initial), "{report}");
    assert!(row.remaining > 0 && !report.is_graceful(), "{report}");
    assert_eq!(report.exit_status(), 0, "a service is not to be started again for want of a collector");
    Ok(())
}
