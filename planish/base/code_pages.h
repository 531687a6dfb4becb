#pragma once

namespace planish {

/// Takes the pages of code and constants that the shared library (or program) around `address` has been mapped with out
/// of this process's resident memory. They stay in the system's page cache and come back when they are used, sixteen at
/// a fault. For libraries of which making a kernel runs through megabytes and running it through a few pages.
void release_code_pages(const void* address);

}  // namespace planish
