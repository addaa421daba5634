//! Configuration: pauses and deploys.

use picloud_daemon::catalog::Pause;
use picloud_daemon::flow::configure::CatalogChange;
use picloud_daemon::store::batch::BatchError;
use picloud_daemon::store::configure::ConfigureError;

use crate::simulation::apps::{self, Enabled};
use crate::simulation::ledger::{Checked, Known, Violation, Whole, broken, ensure};
use crate::simulation::script::pick;

use super::{Configured, World};

impl World {
    pub(super) async fn configure(
        &mut self,
        changes: Vec<CatalogChange>,
    ) -> Result<Configured, Violation> {
        let now = self.time();
        let plan = |_: &_, next, _| Ok::<_, std::convert::Infallible>((changes, next));
        match self.batcher().configure(plan, now).await {
            Ok(_) => Ok(Configured::Yes),
            Err(ConfigureError::StorageLow) => {
                ensure!(self.ledger.storage_low, "P7", "refused for a full disk that is not full");
                Ok(Configured::No)
            }
            Err(ConfigureError::Fatal(BatchError::Crashed(_))) => {
                self.die(None).await?;
                Ok(Configured::No)
            }
            Err(error) => Err(broken("P1", format!("no change of configuration: {error}"))),
        }
    }

    pub(super) async fn pause(&mut self) -> Checked {
        let app = apps::APPS[pick(&mut self.chance, 2)];
        let place = pick(&mut self.chance, apps::WATCHES.len());
        let target = [0, app.0, apps::watch_trigger(app, place).0][pick(&mut self.chance, 3)];
        let pause = Pause { reason: "simulated".into(), since: self.time(), by: Some(apps::OWNER) };
        if self.configure(vec![CatalogChange::Pause { target, pause }]).await? == Configured::Yes {
            self.ledger.pauses.insert(target);
        }
        self.look_at_configuration().await
    }

    pub(super) async fn resume(&mut self) -> Checked {
        let targets: Vec<i64> = self.ledger.pauses.iter().copied().collect();
        let changes = targets.iter().map(|target| CatalogChange::Resume { target: *target });
        if self.configure(changes.collect()).await? == Configured::Yes {
            self.ledger.pauses.clear();
        }
        self.look_at_configuration().await
    }

    /// Switches one trigger on or off and gives the script a new version: both or neither.
    pub(super) async fn deploy(&mut self) -> Checked {
        let app = apps::APPS[pick(&mut self.chance, 2)];
        let place = pick(&mut self.chance, apps::WATCHES.len());
        let id = apps::watch_trigger(app, place).0;
        let enabled = if self.ledger.disabled.contains(&id) { Enabled::Yes } else { Enabled::No };
        self.script_version += 1;
        let changes = vec![
            CatalogChange::PutTrigger(apps::trigger(app, place, enabled)),
            CatalogChange::PutScript(apps::script(
                apps::work(app),
                app,
                "work",
                self.script_version,
            )),
        ];
        if self.configure(changes).await? == Configured::Yes {
            match enabled {
                Enabled::Yes => self.ledger.disabled.remove(&id),
                Enabled::No => self.ledger.disabled.insert(id),
            };
        }
        self.look_at_configuration().await
    }

    pub(super) async fn look_at_configuration(&mut self) -> Checked {
        self.look(&[], &Known::Nothing, Whole::No, &self.moment()).await
    }
}
