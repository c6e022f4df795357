//! A bounded number of tasks for strangers. Who comes when every place is taken gets that of the oldest: strangers who open connections
//! and say nothing then push out each other, where a queue would let them hold up everyone.

use std::collections::VecDeque;
use std::future::Future;
use tokio::task::AbortHandle;

/// Tasks, oldest first.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: VecDeque<AbortHandle>,
}

impl Places {
    /// Room for `most` tasks at once.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: VecDeque::new(),
        }
    }

    /// Runs the task; where there is no room for it, the oldest is aborted. Needs a tokio runtime.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        if self.taken.len() >= self.most {
            self.taken.retain(|task| !task.is_finished());
        }
        if self.taken.len() >= self.most
            && let Some(oldest) = self.taken.pop_front()
        {
            oldest.abort();
        }
        self.taken.push_back(tokio::spawn(task).abort_handle());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// A task that runs until it is aborted, and what tells that it was.
    fn endless(places: &mut Places) -> oneshot::Receiver<()> {
        let (alive, gone) = oneshot::channel();
        places.spawn(async move {
            let _alive: oneshot::Sender<()> = alive;
            std::future::pending().await
        });
        gone
    }

    #[tokio::test]
    async fn who_finds_no_place_takes_that_of_the_oldest() {
        let mut places = Places::new(2);
        let (oldest, mut second) = (endless(&mut places), endless(&mut places));
        let mut third = endless(&mut places);
        oldest.await.unwrap_err();
        assert!(second.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert!(third.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    }

    #[tokio::test]
    async fn a_task_that_has_ended_leaves_its_place_to_another() {
        let mut places = Places::new(2);
        let mut oldest = endless(&mut places);
        for _ in 0..5 {
            let (done, ended) = oneshot::channel::<()>();
            places.spawn(async move { drop(done) });
            ended.await.unwrap_err();
            // The channel closes while the task still ends.
            while !places.taken[1].is_finished() {
                tokio::task::yield_now().await;
            }
        }
        assert!(oldest.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    }
}
