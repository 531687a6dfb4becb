#pragma once

namespace planish::tools {

/// Has the allocator keep freed buffers of up to 32 MB, 256 MB in all, for the rest of the process. Calibration takes
/// and gives back buffers of some megabytes again and again; left alone, the allocator returns each to the system,
/// which then clears every page once more. Runs of engines are left as they are: their memory is what they hold.
void keep_freed_memory();

}  // namespace planish::tools
