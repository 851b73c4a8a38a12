"""The system calls that a filter looks at, by what they reach.

Every line has the numbers of a call on x86_64 and on aarch64, None where it does not exist.
Source: asm/unistd_64.h and asm-generic/unistd.h of the kernel.
"""

from collections.abc import Mapping

Numbers = tuple[int | None, int | None]


PROCESSES: Mapping[str, Numbers] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
}
"""Reach into the memory and the open files of another process."""

KERNEL: Mapping[str, Numbers] = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
}
"""Large interfaces in which most holes in the kernel were found; io_uring also opens files and
sockets past this filter."""

KEYS: Mapping[str, Numbers] = {
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
"""The kernel's key rings belong to the user and not to a namespace."""

MOUNTS: Mapping[str, Numbers] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "setns": (308, 268),
}
"""Change or list what is mounted where, or switch to a namespace in which that looks different."""

HANDLES: Mapping[str, Numbers] = {
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}
"""Open files by number, past the folders they lie in: the classic way out of a container."""

MACHINE: Mapping[str, Numbers] = {
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
}
"""Run the machine itself. The last two also read, but only how the clock is adjusted: the time is
read by clock_gettime."""

QUEUES: Mapping[str, Numbers] = {
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
}
"""Counted for the whole machine, or for the whole user: one job could take all there are. The last
three also tell when others use a file."""

COUNTERS: Mapping[str, Numbers] = {
    "sysinfo": (99, 179),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "ustat": (136, None),
}
"""Tell what all processes together use: memory, processors, room on disk."""

UNSEEN_MEMORY: Mapping[str, Numbers] = {
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "vmsplice": (278, 75),
}
"""Memory that belongs to no process while none has it mapped, so that no watch sees it. The last
lets a pipe keep pages, each with the huge page around it, that the process has given back."""

PAGE_CACHE: Mapping[str, Numbers] = {
    "cachestat": (451, 451),
    "mincore": (27, 232),
    "fadvise64": (221, 223),
    "preadv2": (327, 286),
}
"""Tell or decide which files lie in memory. The machine's cache is shared by the passes of an
audit: what one has read, the next could find there. That an uncached read takes longer cannot be
hidden."""

DENIED: Mapping[str, Numbers] = {**PROCESSES, **KERNEL, **KEYS, **MOUNTS, **HANDLES, **MACHINE}
"""Refused behind every wall."""

IPC: Mapping[str, Numbers] = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
"""System V and POSIX objects have no path that a file rule could forbid: other programs of the user
share memory there, and what a job leaves behind outlives it."""

MODES_AND_TIMES: Mapping[str, Numbers] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
"""Landlock guards what is in a file and not its mode: with these a job could lock the user out of
every file of theirs, or open one to everybody. They are answered as if done, since copying a file
in Python ends with them, and no mode or time of a job's own files means anything to us."""

OWNERS: Mapping[str, Numbers] = {
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
}
"""The same for owners and flags, which no honest job changes."""

LABELS: Mapping[str, Numbers] = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
}
"""Extended attributes; whoever copies a file can do without."""

WATCHES: Mapping[str, Numbers] = {
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
}
"""Tell when and under which names others use files that the job itself may not open."""

PRIORITIES: Mapping[str, Numbers] = {
    "ioprio_set": (251, 30),
}
"""Can slow down all other processes of the user at once."""

CONNECTIONS: Mapping[str, Numbers] = {
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
}
"""Without sockets there is nothing to connect: refused in case one is handed in."""

ITSELF_ONLY: Mapping[str, tuple[Numbers, tuple[int, ...]]] = {
    "prlimit64": ((302, 261), (0,)),
    "setpriority": ((141, 140), (0, 1)),
    "sched_setaffinity": ((203, 122), (0,)),
    "sched_setparam": ((142, 118), (0,)),
    "sched_setscheduler": ((144, 119), (0,)),
    "sched_setattr": ((314, 274), (0,)),
}
"""Can act on any process of the user by its number. With the arguments that must be 0, for "the
caller": a limit of no processor time, set on the supervisor, would kill it."""

CLOCKS: Mapping[str, Numbers] = {
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "timer_create": (222, 107),
}
"""Also read the processor time of any process by its number, to the nanosecond."""
CLOCK_OF_A_PROCESS = 0x8000_0000
"""Bit of a clock that names a process or a thread; the caller's own have other names."""

CLONE: Numbers = (56, 220)
CLONE3: Numbers = (435, 435)
UNSHARE: Numbers = (272, 97)
IOCTL: Numbers = (16, 29)
MADVISE: Numbers = (28, 233)
PRCTL: Numbers = (157, 167)
PR_SET_PDEATHSIG = 1
"""Without it a job could outlive its supervisor; whoever sets it is told that it is done."""
RT_SIGACTION: Numbers = (13, 134)
SIGCHLD = 17
"""While it is ignored, the time of ended children counts for nobody. Whoever sets it is told that
it is done, and waits for children without being notified of their end."""
MADV_COLD, MADV_PAGEOUT = 20, 21
FCNTL: Numbers = (72, 25)
F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ = 1024, 1026, 1031
"""The first two tell when others open a file, or use one in a folder; the last makes more fit into
a pipe."""
SETSOCKOPT: Numbers = (54, 208)
SOL_SOCKET, SO_SNDBUF, SO_RCVBUF = 1, 7, 8
"""Room for what waits in a socket, which belongs to no process. Whoever asks for another size is
told that it is done: the kernel, too, gives what it likes."""
SOCKET: Numbers = (41, 198)
SOCKETPAIR: Numbers = (53, 199)
