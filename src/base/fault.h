/* Named persistence steps. In builds with -Dfaults=true, FAULT("blob.renamed") consults
 * BERTH_FAULT: "kill:NAME:N" kills the process (SIGKILL) at the N-th pass of NAME ("kill:*:N" any
 * step), "fail:NAME:N:ERRNO" makes the N-th pass fail once, "fail+" that and all later ones; each
 * pass is appended to the file BERTH_FAULT_LOG if set (name, newline). In shipped builds it is
 * the constant 0. Every fsync, rename, commit and unlink stands between two such points
 * (before: "x.y", after: "x.y.done"). */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H
#ifdef BERTH_FAULTS
int fault_at(const char *name); /* 0, or the errno to pretend */
#define FAULT(name) fault_at(name)
#else
#define FAULT(name) 0
#endif
#endif
