/* What Python cannot do by itself. Every call returns a value >= 0, or -errno. This text is also cffi's cdef. */

/* Files (openat2(2), statfs(2), syncfs(2), inotify(7)). */
int ek_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int64_t ek_fs_type(const char *path);
int ek_syncfs(int fd);
int ek_inotify(const char *path, uint32_t events);

/* Mounts (mount(2), umount2(2)). */
int ek_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
int ek_umount(const char *target, int flags);
int ek_mount_from(const char *folder, const char *source, const char *target, const char *type, unsigned long flags,
                  const char *data);

/* Namespaces (setns(2), unshare(2), namespaces(7)). */
int ek_setns(int fd, int kind);
int ek_pin_namespaces(const char *net, const char *ipc, const char *uts, const char *hostname,
                      const char *const *sysctl_paths, const char *const *sysctl_values, int sysctls,
                      char *failed, int failed_size);
int ek_socket_in_netns(int netns_fd, int family, int type, int protocol);

/* Memory (madvise(2), malloc_trim(3)). */
int ek_forget_pages(uintptr_t start, size_t bytes);
int ek_trim_heap(void);

/* Processes (clone(2), prctl(2)). */
int ek_set_subreaper(int on);
int ek_spawn_detached(const char *path, const char *const *argv, const char *const *envp, const int *fds,
                      int fds_count);
