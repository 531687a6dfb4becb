#pragma once

#include <string>
#include <vector>

namespace planish::tools {

// Rows of the command table (commands.h): `<name>_main` runs the command, `<name>_words` lists its options.

int build_main(int argc, char** argv);
std::vector<std::string> build_words();

int run_main(int argc, char** argv);
std::vector<std::string> run_words();

int bench_main(int argc, char** argv);
std::vector<std::string> bench_words();

int inspect_main(int argc, char** argv);
std::vector<std::string> inspect_words();

int compare_main(int argc, char** argv);
std::vector<std::string> compare_words();

int eval_main(int argc, char** argv);
std::vector<std::string> eval_words();

int quantize_main(int argc, char** argv);
std::vector<std::string> quantize_words();

int convert_main(int argc, char** argv);
std::vector<std::string> convert_words();

int cache_main(int argc, char** argv);
std::vector<std::string> cache_words();

int sensitivity_main(int argc, char** argv);
std::vector<std::string> sensitivity_words();

int compare_precisions_main(int argc, char** argv);
std::vector<std::string> compare_precisions_words();

}  // namespace planish::tools
