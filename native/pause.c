/* Pid 1 of a pod that shares its process namespace: reaps what is orphaned to it, ends on SIGTERM or SIGINT.
 *
 * No libc: 9 kB of file, a few pages of memory. Signals are blocked and taken with rt_sigtimedwait, so no handler (and
 * no restorer trampoline) is needed; as pid 1 the kernel drops every signal without a handler except SIGKILL from
 * outside, which is why they must be blocked rather than defaulted.
 */
#include <asm/unistd.h>

#define SIGINT 2
#define SIGTERM 15
#define SIGCHLD 17
#define WNOHANG 1
#define ANY_CHILD (-1L)

#if defined(__x86_64__)
static long call(long number, long a, long b, long c, long d) {
    long value;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(value) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return value;
}
#elif defined(__aarch64__)
static long call(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#else
#error "pause: no system call sequence for this architecture"
#endif

void _start(void) {
    unsigned long wanted = 1UL << (SIGINT - 1) | 1UL << (SIGTERM - 1) | 1UL << (SIGCHLD - 1);
    call(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, (long)&wanted, 0, sizeof wanted);
    for (;;) {
        long number = call(__NR_rt_sigtimedwait, (long)&wanted, 0, 0, sizeof wanted);
        if (number == SIGINT || number == SIGTERM) call(__NR_exit_group, 0, 0, 0, 0);
        while (call(__NR_wait4, ANY_CHILD, 0, WNOHANG, 0) > 0) {
        }
    }
}
