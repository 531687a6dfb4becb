#include "planish/tools/trtexec/flags.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "planish/tools/commands.h"
#include "planish/tools/test/golden.h"
#include "planish/tools/trtexec/parse.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

Options parsed(const std::vector<std::string>& arguments) { return parse_command_line(arguments).options; }

std::string messages(const ParsedCommandLine& line) {
  std::string text;
  for (const auto& note : line.notes) text += "I " + note + '\n';
  for (const auto& warning : line.warnings) text += "W " + warning + '\n';
  for (const auto& unknown : line.unknown) text += "U " + unknown + '\n';
  for (const auto& error : line.errors) text += "E " + error.message() + '\n';
  return text;
}

/// A value that the flag accepts.
std::string sample(const FlagSpec& flag) {
  static const std::map<std::string_view, std::string> kSpecial{{"--memPoolSize", "workspace:64M"},
                                                                {"--profilingVerbosity", "detailed"},
                                                                {"--nvtxMode", "verbose"},
                                                                {"--layerPrecisions", "conv*:fp16"},
                                                                {"--layerOutputTypes", "a:fp32+fp16"},
                                                                {"--layerDeviceTypes", "a:CPU"},
                                                                {"--tacticSources", "-ONEDNN,+CUDNN"},
                                                                {"--saveAllDebugTensors", "numpy"},
                                                                {"--inputIOFormats", "fp32:chw"},
                                                                {"--outputIOFormats", "fp32:chw"},
                                                                {"--percentile", "50,99"},
                                                                {"--device", "cpu"},
                                                                {"--tempfileControls", "in_memory:allow"},
                                                                {"--profile", "0"}};
  if (const auto it = kSpecial.find(flag.name); it != kSpecial.end()) return it->second;
  switch (flag.argument) {
    case Arg::none: return "";
    case Arg::integer: return "1";
    case Arg::number: return "0.5";
    case Arg::size: return "64";
    case Arg::shapes: return "input:1x3x224x224";
    case Arg::pairs: return "input:file.bin";
    case Arg::choice: return split_list(flag.value_name, '|').front();
    default: return "value";
  }
}

TEST(Flags, TableHoldsTheFlagsOfTheSpecification) {
  std::map<FlagClass, int> classes;
  std::map<FlagGroup, int> groups;
  std::set<std::string_view> names;
  for (const FlagSpec& flag : flag_table()) {
    ++classes[flag.kind];
    ++groups[flag.group];
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    EXPECT_EQ(flag.help.back(), '.') << flag.name;
    EXPECT_NE(flag.set, nullptr) << flag.name;
    if (flag.kind == FlagClass::accept || flag.kind == FlagClass::refuse) {
      EXPECT_FALSE(flag.note.empty()) << flag.name;
    }
    EXPECT_EQ(flag.argument == Arg::none, flag.value_name.empty()) << flag.name;
  }
  EXPECT_EQ(classes[FlagClass::essential], 45);
  EXPECT_EQ(classes[FlagClass::useful], 63);
  EXPECT_EQ(classes[FlagClass::accept], 43);
  EXPECT_EQ(classes[FlagClass::refuse], 9);
  EXPECT_EQ(groups[FlagGroup::build], 77);
  EXPECT_EQ(groups[FlagGroup::inference], 28);
  EXPECT_EQ(groups[FlagGroup::legacy], 15);
}

TEST(Flags, EveryFlagParsesAloneAndAcceptedOnesWarnOnce) {
  for (const FlagSpec& flag : flag_table()) {
    const std::string word = std::string(flag.name) + (flag.argument == Arg::none ? "" : "=" + sample(flag));
    const ParsedCommandLine line = parse_command_line({word});
    EXPECT_TRUE(line.unknown.empty()) << messages(line);
    const auto own = [&](const std::string& text) { return text.find(flag.name) != std::string::npos; };
    const auto warnings = std::count_if(line.warnings.begin(), line.warnings.end(), own);
    if (flag.kind == FlagClass::accept && flag.name != "--nvtxMode") {
      EXPECT_EQ(warnings, 1) << messages(line);
    }
    const auto errors = std::count_if(line.errors.begin(), line.errors.end(), [&](const Error& e) {
      return e.file == flag.name && e.what.find("needs") == std::string::npos &&
             e.what.find("combined") == std::string::npos;
    });
    EXPECT_EQ(errors, flag.kind == FlagClass::refuse ? 1 : 0) << flag.name << '\n' << messages(line);
  }
}

TEST(Flags, ListingAndDocumentsAreGenerated) {
  expect_golden("help.txt", help_listing());
  expect_golden("completion.bash", bash_completion_script());
  EXPECT_TRUE(read_file("docs/trtexec_flags.md") == flags_markdown())
      << "run: planish flags-doc > docs/trtexec_flags.md";
}

TEST(Parse, SpaceInsteadOfEqualsWhereUnambiguous) {
  const Options o =
      parsed({"--onnx", "m.onnx", "--iterations", "7", "--maxTactics", "-1", "--fp16", "--duration", "-1"});
  EXPECT_EQ(o.model.onnx_path, "m.onnx");
  EXPECT_EQ(o.inference.iterations, 7);
  EXPECT_EQ(o.inference.duration_s, -1);
  EXPECT_TRUE(o.build.precision.fp16);
  EXPECT_EQ(messages(parse_command_line({"--onnx", "--fp16"})),
            "E option '--onnx': needs a value. Fix: write --onnx=FILE\n");
}

TEST(Parse, FirstEqualsSplitsAndLastColonPairs) {
  const Options o = parsed({"--onnx=a=b.onnx", "--shapes=Input:0:1x3x224x224,'x,y:1':scalar,z:"});
  EXPECT_EQ(o.model.onnx_path, "a=b.onnx");
  const ShapeList expected{{"Input:0", {1, 3, 224, 224}}, {"x,y:1", {}}, {"z", {}}};
  EXPECT_EQ(o.inference.shapes, expected);
  EXPECT_EQ(o.build.profiles.at(0).max, expected) << "--shapes alone is min, opt and max of the built profile";
}

TEST(Parse, Messages) {
  const std::vector<std::vector<std::string>> lines = {
      {"--onxn=m.onnx"},
      {"onnx=m.onnx"},
      {"--fp16", "yes", "--onnx=m.onnx"},
      {"--fp16=0", "--onnx=m.onnx"},
      {"--onnx=a.onnx", "--onnx=b.onnx"},
      {"--fp16"},
      {"--onnx=m.onnx", "--iterations=1x"},
      {"--onnx=m.onnx", "--iterations=99999999999"},
      {"--onnx=m.onnx", "--percentile=50,101"},
      {"--onnx=m.onnx", "--sparsity=on"},
      {"--onnx=m.onnx", "--memPoolSize=workspace:-1"},
      {"--onnx=m.onnx", "--memPoolSize=scratch:1"},
      {"--onnx=m.onnx", "--minShapes=input"},
      {"--onnx=m.onnx", "--minShapes=input:1x3xq"},
      {"--onnx=m.onnx", "--minShapes=input:1x3x224x224"},
      {"--onnx=m.onnx", "--minShapes=input:2x3", "--optShapes=input:1x3"},
      {"--onnx=m.onnx", "--minShapes=a:1", "--minShapes=b:1"},
      {"--onnx=m.onnx", "--profile=0", "--optShapes=a:1", "--profile=2", "--optShapes=a:2"},
      {"--loadEngine=e", "--saveEngine=f"},
      {"--onnx=m.onnx", "--fp8", "--int8"},
      {"--onnx=m.onnx", "--weightStreamingBudget=1"},
      {"--onnx=m.onnx", "--useRuntime=lean"},
      {"--onnx=m.onnx", "--precisionConstraints=obey"},
      {"--onnx=m.onnx", "--layerPrecisions=conv:fp17"},
      {"--onnx=m.onnx", "--layerPrecisions=conv:fp16"},
      {"--onnx=m.onnx", "--stronglyTyped", "--fp16"},
      {"--onnx=m.onnx", "--int8"},
      {"--onnx=m.onnx", "--workspace=4096", "--streams=2", "--explicitBatch", "--profilingVerbosity=verbose"},
      {"--onnx=m.onnx", "--uff=x"},
      {"--onnx=m.onnx", "--tacticSources=CUDNN"},
      {"--onnx=m.onnx", "--loadRefOutputs=a:b"},
      {"--onnx=m.onnx", "--useDLACore=0"},
      {"--onnx=m.onnx", "--dryRun", "--tuneBuildRoutes=-fp16=[on|off]", "--tuningSearch=mixed"},
  };
  std::string text;
  for (const auto& words : lines) {
    text += '$';
    for (const auto& word : words) text += ' ' + word;
    text += '\n' + messages(parse_command_line(words));
  }
  expect_golden("parse_messages.txt", text);
}

TEST(Parse, Sizes) {
  EXPECT_EQ(*parse_size_bytes("1", 1 << 20, "--x"), 1 << 20);
  EXPECT_EQ(*parse_size_bytes("1.5K", 1 << 20, "--x"), 1536);
  EXPECT_EQ(*parse_size_bytes("100B", 1 << 20, "--x"), 100);
  EXPECT_EQ(*parse_size_bytes("2G", 1 << 20, "--x"), int64_t{2} << 30);
  for (const char* bad : {"", "M", "-1", "1T", "nan", "1e30", "1 M"})
    EXPECT_FALSE(parse_size_bytes(bad, 1, "--x")) << bad;
}

TEST(Parse, ProfilesInOrder) {
  const Options o =
      parsed({"--onnx=m", "--profile=1", "--optShapes=a:8", "--profile=0", "--minShapes=a:1", "--maxShapes=a:4"});
  ASSERT_EQ(o.build.profiles.size(), 2u);
  EXPECT_EQ(o.build.profiles[0], (ProfileShapes{.min = {{"a", {1}}}, .opt = {{"a", {4}}}, .max = {{"a", {4}}}}));
  EXPECT_EQ(o.build.profiles[1].min, (ShapeList{{"a", {8}}}));
}

TEST(Parse, NeverCrashesOnOddWords) {
  for (const char* word :
       {"", "=", "-", "--", "--=", "--shapes=:", "--shapes='", "--shapes=''':1", "--shapes=a:1x", "-h=1",
        "--memPoolSize=,", "--percentile=,", "--loadInputs=:a", "--tacticSources=,", "--profile=-1"}) {
    parse_command_line({word});
    parse_command_line({"--onnx=m", word, word});
  }
}

TEST(Text, Wildcards) {
  EXPECT_TRUE(wildcard_matches("a*c", "abc"));
  EXPECT_TRUE(wildcard_matches("*", ""));
  EXPECT_FALSE(wildcard_matches("aba*aba", "aba"));
  const ShapeList shapes{{"in*", {1}}, {"input", {2}}};
  EXPECT_EQ(*find_shape(shapes, "input"), Dims{2}) << "an exact name beats a wildcard";
  EXPECT_EQ(*find_shape(shapes, "in2"), Dims{1});
}

TEST(Commands, NamesAreFound) {
  EXPECT_NE(find_command("trtexec"), nullptr);
  EXPECT_EQ(find_command("nothing"), nullptr);
  EXPECT_NE(command_listing().find("trtexec"), std::string::npos);
}

}  // namespace
}  // namespace planish::tools
