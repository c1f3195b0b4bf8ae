//! What the operating system knows of the process, read when metrics are asked for.

use prometheus::{Counter, Gauge, IntGauge, Registry};

/// `process_*` and `os_fd_*`. Off Linux they stay 0.
#[derive(Debug)]
pub struct ProcessMetrics {
    cpu_seconds: Counter,
    open_descriptors: IntGauge,
    descriptors_max: IntGauge,
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    virtual_bytes_max: Gauge,
    start_time_seconds: Gauge,
    descriptors_used: IntGauge,
    descriptors_limit: IntGauge,
}

impl ProcessMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A name that is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let real_gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cpu_seconds =
            Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?;
        registry.register(Box::new(cpu_seconds.clone()))?;
        Ok(Self {
            cpu_seconds,
            open_descriptors: gauge("process_open_fds", "Number of open file descriptors.")?,
            descriptors_max: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
            resident_bytes: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            virtual_bytes_max: real_gauge(
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes.",
            )?,
            start_time_seconds: real_gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            descriptors_used: gauge("os_fd_used", "The number of used file descriptors.")?,
            descriptors_limit: gauge("os_fd_limit", "The file descriptor limit.")?,
        })
    }

    /// Reads everything anew. What cannot be read keeps its last value.
    pub fn refresh(&self) {
        if let Some(usage) = linux::usage() {
            self.cpu_seconds.inc_by((usage.cpu_seconds - self.cpu_seconds.get()).max(0.0));
            self.resident_bytes.set(usage.resident_bytes);
            self.virtual_bytes.set(usage.virtual_bytes);
            self.start_time_seconds.set(usage.start_time_seconds);
        }
        if let Some(used) = linux::open_descriptors() {
            self.open_descriptors.set(used);
            self.descriptors_used.set(used);
        }
        let limit = descriptors_limit();
        self.descriptors_max.set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.descriptors_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        let memory = rustix::process::getrlimit(rustix::process::Resource::As).current;
        self.virtual_bytes_max.set(memory.map_or(-1.0, |bytes| bytes as f64));
    }
}

/// The most descriptors that the process may have open.
#[must_use]
pub fn descriptors_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// `/proc`, as far as it is there.
mod linux {
    use std::fs;

    pub struct Usage {
        pub cpu_seconds: f64,
        pub resident_bytes: i64,
        pub virtual_bytes: i64,
        pub start_time_seconds: f64,
    }

    /// Fields of `/proc/self/stat` behind the name, which may contain blanks and parentheses: user and system time in
    /// ticks, start time in ticks since boot, virtual bytes, resident pages.
    pub fn usage() -> Option<Usage> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page_bytes = i64::try_from(rustix::param::page_size()).ok()?;
        Some(Usage {
            cpu_seconds: (number(11)? + number(12)?) / ticks,
            start_time_seconds: boot_time_seconds()? + number(19)? / ticks,
            virtual_bytes: number(20)? as i64,
            resident_bytes: number(21)? as i64 * page_bytes,
        })
    }

    fn boot_time_seconds() -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    }

    pub fn open_descriptors() -> Option<i64> {
        // The directory itself is open while it is counted.
        i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)).ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        let process = ProcessMetrics::new(&Registry::new()).unwrap();
        process.refresh();
        assert!(process.resident_bytes.get() > 1 << 20);
        assert!(process.virtual_bytes.get() >= process.resident_bytes.get());
        assert!(process.open_descriptors.get() >= 3);
        assert!(process.descriptors_limit.get() > 3);
        assert!(process.start_time_seconds.get() > 1.7e9);
    }
}
