//! What the clock sets off: schedules that are due, and what has to be put right when the clock was set.

use crate::flow::Command;
use crate::flow::fire::Fire;
use crate::ids::{AppId, Ids, QueueId};
use crate::schedule::Timetable;
use crate::store::batch::Batcher;
use crate::store::engine;
use crate::store::{details, rows, sql};
use crate::time::{STEP_MS, Step, Timestamp};

/// Schedules that fire in one batch; further ones follow in the next.
const FIRES_A_BATCH_MAX: usize = 100;

impl Batcher {
    /// Commands for the schedules that are due.
    pub fn due_schedules(&mut self, ids: &Ids, now: Timestamp) -> Vec<Command> {
        let due = self.timetable.take_due(FIRES_A_BATCH_MAX, now).into_iter();
        let fire = |(trigger, fired_until)| {
            Command::Fire(Fire { trigger, fired_until, fresh: ids.next(now) })
        };
        due.map(fire).collect()
    }

    /// A command for a schedule was refused: it comes again later.
    pub fn schedule_refused(&mut self, command: &Command, now: Timestamp) {
        if let Command::Fire(fire) = command {
            self.timetable.put_off(fire.trigger, now);
        }
    }

    /// When the first schedule is due.
    pub fn next_schedule(&self) -> Option<Timestamp> {
        self.timetable.next_due()
    }

    /// The clock is believed from now on. What a clock that ran far ahead has left behind holds nothing up: neither
    /// retries that would be due at last nor schedules that have fired for times to come.
    pub(crate) async fn clock_is_believed(&mut self, now: Timestamp) -> Result<(), sqlx::Error> {
        self.go_on_from(now, now.plus_ms(STEP_MS)).await?;
        for (app, queue) in self.standing.backlog.queues() {
            let query =
                engine::query(sql::OUTBOX_TOO_FAR).bind(queue.0).bind(now.0).bind(Timestamp::HELD);
            if query.execute(&mut self.conn).await? > 0 {
                self.look_at(app, queue).await?;
            }
        }
        Ok(())
    }

    /// The clock was set: what waits for a time waits as long as before. Schedules go on from the new time, unless what
    /// lies between is to be made up for, since nobody knew the time before.
    pub(crate) async fn clock_was_set(
        &mut self,
        step: Step,
        between: Between,
    ) -> Result<(), sqlx::Error> {
        self.shift_rows(step).await?;
        match between {
            Between::NeverWas => self.go_on_from(step.to, Timestamp(i64::MIN)).await,
            Between::Missed => self.go_on_from(step.to, step.to).await,
        }
    }

    async fn go_on_from(&mut self, now: Timestamp, above: Timestamp) -> Result<(), sqlx::Error> {
        if self.timetable.go_on_from(now, above) > 0 {
            let query = engine::query(sql::SCHEDULES_GO_ON).bind(now.0).bind(above.0);
            query.execute(&mut self.conn).await?;
        }
        Ok(())
    }

    async fn shift_rows(&mut self, step: Step) -> Result<(), sqlx::Error> {
        let due = step.from.min(step.to);
        for (app, queue) in self.standing.backlog.queues() {
            let query = engine::query(sql::OUTBOX_SHIFT)
                .bind(queue.0)
                .bind(step.ms())
                .bind(due.0)
                .bind(Timestamp::HELD);
            query.execute(&mut self.conn).await?;
            self.look_at(app, queue).await?;
        }
        Ok(())
    }

    async fn look_at(&mut self, app: AppId, queue: QueueId) -> Result<(), sqlx::Error> {
        let query = engine::query(sql::BACKLOG_NEXT).bind(queue.0);
        let found = query.fetch_optional(&mut self.conn).await?;
        let next = found.map(|row| rows::int(&row, 0)).transpose()?;
        self.standing.backlog.set(app, queue, next.map(Timestamp));
        Ok(())
    }

    /// The schedules of the catalog from where they are stored to have fired.
    pub(crate) async fn load_timetable(&mut self) -> Result<(), sqlx::Error> {
        let marks = details::marks(&mut self.conn).await?;
        let catalog = self.catalog.load();
        let schedules = catalog.matching.schedules();
        let lines = marks.into_iter().filter_map(|(id, mark)| {
            let (_, schedule) = schedules.get(&id)?;
            Some((id, std::sync::Arc::clone(schedule), mark))
        });
        self.timetable = Timetable::build(lines);
        Ok(())
    }
}

/// What the time is that a step of the clock leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// The clock was right before or is now, and nothing has been missed.
    NeverWas,
    /// The clock was not known to be right before: the power was off then.
    Missed,
}
