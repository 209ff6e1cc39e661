//! Ends runs of kic at moments of chance.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::kic::shown;
use super::random::Random;

/// How long a run may take to end that is asked to.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether a run has ended before its moment.
const POLLED: Duration = Duration::from_millis(1);

/// Moments spread by chance over the whole length of a run: one in each of so many equal parts, the parts in no order.
pub struct Moments {
    random: Random,
    parts: Vec<u32>,
    count: u32,
    length: Duration,
    /// How many runs were ended before their own end.
    hit: u32,
}

impl Moments {
    /// So many moments of runs that take about `length`.
    pub fn new(mut random: Random, count: u32, length: Duration) -> Self {
        let mut parts: Vec<u32> = (0..count).collect();
        random.shuffle(&mut parts);
        Self { random, parts, count, length, hit: 0 }
    }

    /// Starts a run, sends it a signal at the next moment, and waits for its end. Returns whether it was ended so, and
    /// what happened, in words.
    pub fn end(&mut self, command: &mut Command, signal: &str) -> (Ended, String) {
        let part = self.parts.pop().expect("a moment");
        let thousandths = part * 1000 + u32::try_from(self.random.below(1000)).unwrap();
        let moment = self.length.mul_f64(f64::from(thousandths) / f64::from(self.count * 1000));
        let when = format!(
            "{} moments left: {signal} after {moment:?} of about {:?}",
            self.parts.len(),
            self.length
        );
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        while began.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(POLLED.min(moment.saturating_sub(began.elapsed())));
        }
        let asked = Instant::now();
        if child.try_wait().unwrap().is_none() {
            send(&child, signal);
        }
        let status = wait(&mut child, &when);
        let ended = match (status.code(), status.signal()) {
            (Some(0), _) => Ended::Before,
            (Some(130), _) if signal != "KILL" => Ended::Asked,
            (None, Some(_)) => Ended::Killed,
            _ => panic!("{when}: {}", shown(&child.wait_with_output().unwrap())),
        };
        assert!(
            signal == "KILL" || asked.elapsed() < PATIENCE,
            "{when}: it took {:?} to end",
            asked.elapsed()
        );
        // How busy the machine is changes all the time: a run that was faster says how long the next one takes.
        if ended == Ended::Before {
            self.length = self.length.min(began.elapsed());
        } else {
            self.length = self.length * 21 / 20;
            self.hit += 1;
        }
        (ended, when)
    }

    /// Enough runs were hit for the test to say something.
    pub fn assert_hit(&self) {
        eprintln!("{} of {} runs were ended before their own end", self.hit, self.count);
        assert!(self.hit * 2 > self.count, "only {} of {} runs were hit", self.hit, self.count);
    }
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, before its moment came.
    Before,
    /// It was asked to, and tidied up.
    Asked,
    /// The system ended it.
    Killed,
}

/// Sends a signal to a child that was not waited for yet.
pub fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).output().unwrap();
    // It may have ended, but it is not reaped yet: its number is nobody else's.
    assert!(sent.status.success(), "{}", shown(&sent));
}

/// Waits until a child ends; it must, soon.
pub fn wait(child: &mut Child, when: &str) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("{when}: it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
