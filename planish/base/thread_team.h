#pragma once

namespace planish {

/// Where the running thread stands in its parallel region: `id` of `size` threads; 0 of 1 outside of any.
struct TeamPlace {
  int id = 0;
  int size = 1;
};
TeamPlace team_place();

/// True inside a parallel region, also one that got a single thread.
bool in_team();

/// Threads that regions started from this thread get when they ask for none in particular; at least 1. New threads
/// begin with OMP_NUM_THREADS, or else with one for every core that the process may run on.
void set_team_threads(int threads);
int team_threads();

/// Keeps this thread and its workers, those of later regions too, each on a core of its own: the `first`-th of those
/// that the process may use, and the following ones, starting over at the end. A core that the system refuses is left
/// to its scheduler.
void pin_team(int first);

/// Opens a region of `threads` threads (0: team_threads()): calls body(data) for the places 1 .. threads-1, while the
/// caller, who is at place 0 from now on, runs its own part; then it calls team_end(). Every thread has workers of its
/// own, which spin for some tens of microseconds and then sleep; a worker has the same place in every region, and the
/// caller's float_mode(). A region inside a region gets one thread.
///
/// A place that no worker has taken when the caller is done with its own is run by the caller: on a machine whose cores
/// are busy with other work, nobody waits for a thread to be scheduled that has not even begun.
void team_start(void (*body)(void*), void* data, int threads);

/// Runs what is left of the region, waits for its other threads, and closes it. What they wrote is visible afterwards.
void team_end();

/// Waits until every thread of the region is here. All of them must come, and none may have returned from the body.
void team_barrier();

}  // namespace planish
