//! The example app, built in: what `picloudd demo` deploys, through the same path as `picloud deploy`.

use picloud_api::manifest::Bundle;

const MANIFEST: &str = include_str!("../demo/picloud.toml");

const SOURCES: &[(&str, &str)] = &[
    ("record.rhai", include_str!("../demo/record.rhai")),
    ("latest.rhai", include_str!("../demo/latest.rhai")),
    ("overview.rhai", include_str!("../demo/overview.rhai")),
    ("set-threshold.rhai", include_str!("../demo/set-threshold.rhai")),
    ("watch-soil.rhai", include_str!("../demo/watch-soil.rhai")),
    ("notify.rhai", include_str!("../demo/notify.rhai")),
    ("keep-failure.rhai", include_str!("../demo/keep-failure.rhai")),
    ("report.rhai", include_str!("../demo/report.rhai")),
    ("latest-report.rhai", include_str!("../demo/latest-report.rhai")),
];

/// The greenhouse as a bundle.
pub fn bundle() -> Bundle {
    let sources = SOURCES.iter().map(|(file, source)| ((*file).to_owned(), (*source).to_owned()));
    Bundle {
        manifest: toml::from_str(MANIFEST).expect("the manifest that is built in is right"),
        sources: sources.collect(),
    }
}

/// What to try: printed when the demo is ready.
pub fn invitation(address: std::net::SocketAddr, socket: &std::path::Path) -> String {
    let url = format!("http://{address}/greenhouse");
    let socket = socket.display();
    format!(
        "\
The greenhouse is open. Try:

  curl {url}/readings/tomato --json '{{\"moisture\": 55, \"temperature\": 21.5}}'
  curl {url}/readings/basil --json '{{\"moisture\": 12}}'      # dry: an alarm
  curl {url}/readings/basil
  curl {url}/
  curl -X POST {url}/reports -i                            # 202, made in the background
  curl {url}/reports/latest
  curl {url}/readings/basil --json '{{\"moisture\": 60}}'      # watered: the alarm ends

Look at it, all at once and live, in the console; it has a socket of its own:

  export PICLOUD_SOCKET={socket}
  picloud-tui                                     # 3: the dead letters; ?: help; q: quit

or with the command line:

  picloud apps list
  picloud triggers list                           # what runs on changes, and when the clock says so
  picloud triggers fire greenhouse/morning-report
  picloud executions list
  picloud dead-letters list                       # the messenger loses one message in three
  picloud pause greenhouse/notify-owner
  picloud outbox list
  picloud resume greenhouse/notify-owner
  picloud export greenhouse ./greenhouse          # then edit, and: picloud deploy ./greenhouse

(from a checkout: cargo run --release --bin picloud-tui, cargo run --release --bin picloud -- apps list). Ctrl-C ends it.

"
    )
}

#[cfg(test)]
mod tests {
    use picloud_scripts_runtime::limits::RunLimits;
    use picloud_scripts_runtime::runtime::Runtime;

    use super::*;
    use crate::manifest;

    #[test]
    fn the_greenhouse_can_be_deployed() {
        let limits = RunLimits::default();
        let runtime = Runtime::new(&limits, 64 << 20);
        let compile = |source: &str| runtime.compile(source).map(drop);
        let wanted = manifest::check(&bundle(), &limits, &compile).expect("nothing is wrong");
        assert_eq!((wanted.scripts.len(), wanted.routes.len(), wanted.triggers.len()), (9, 6, 4));
    }

    #[test]
    fn every_script_of_the_folder_is_built_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".rhai"))
            .collect();
        there.sort();
        assert_eq!(bundle().sources.into_keys().collect::<Vec<_>>(), there);
    }
}
