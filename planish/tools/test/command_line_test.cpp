#include "planish/tools/command_line.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "planish/base/temporary_folder.h"

namespace planish::tools {
namespace {

struct Sample {
  std::string file;
  std::string second;
  std::vector<std::string> names;
  std::string mode = "slow";
  int64_t count = 0;
  double share = 0;
  bool loud = false;
  std::string samples;
  std::string report;
  std::string table;
  std::string drawings;
  CommandLine line{"sample", "Shows what a command line does.", "  planish sample in.txt --count=3"};

  Sample() {
    line.positional("FILE", file, "What to read");
    line.positional("OTHER", second, "What else to read", false);
    line.flag("--loud", loud, "Say more");
    line.integer("-c,--count", count, 0, 10, "How often");
    line.number("--share", share, 0, 1, "X", "How much");
    line.choice("--mode", mode, {"slow", "quick"}, "In which way");
    line.input("--samples", samples, "PATH", "What to read as well");
    line.output("--report", report, "FILE", "What to write");
    line.output("-t,--table", table, "FILE", "What else to write");
    line.output_folder("--drawings", drawings, "DIR", "Where to draw");
    line.texts("--name", names, "TEXT", "A name; may be repeated");
  }
  std::string error(const std::vector<std::string>& arguments) {
    const Status status = line.read(arguments);
    return status.ok() ? "" : status.error().message();
  }
};

TEST(CommandLine, ReadsEverySpelling) {
  Sample s;
  ASSERT_EQ(s.error({"--name=a", "in.txt", "--name", "b=c", "-c", "4", "--share=0.5", "--loud", "--mode", "quick"}),
            "");
  EXPECT_EQ(s.file, "in.txt");
  EXPECT_EQ(s.second, "");
  EXPECT_EQ(s.names, (std::vector<std::string>{"a", "b=c"}));
  EXPECT_EQ(s.count, 4);
  EXPECT_EQ(s.share, 0.5);
  EXPECT_TRUE(s.loud);
  EXPECT_EQ(s.mode, "quick");
}

TEST(CommandLine, NamesTheNearestOption) {
  EXPECT_EQ(Sample().error({"in.txt", "--cuont=3"}),
            "option '--cuont': there is no such option. Fix: did you mean --count?");
  EXPECT_EQ(Sample().error({"--lod"}), "option '--lod': there is no such option. Fix: did you mean --loud?");
  EXPECT_EQ(Sample().error({"in.txt", "--qqqqqqqq"}),
            "option '--qqqqqqqq': there is no such option. Fix: planish sample --help lists the options");
}

TEST(CommandLine, ChecksOutputsBeforeAnyWork) {
  const TemporaryFolder folder;
  const std::string in = (folder.path() / "in.txt").string();
  const auto beside = [&](const char* name) { return (folder.path() / name).string(); };
  std::ofstream(in) << "x";
  EXPECT_EQ(Sample().error({in, "--report", beside("a.json"), "-t", beside("b.csv"), "--drawings", beside("new")}), "");
  EXPECT_NE(Sample().error({in, "--report", in}).find("would be written over what is read"), std::string::npos);
  EXPECT_NE(Sample().error({beside("a"), in, "--table", in}).find("would be written over"), std::string::npos);
  EXPECT_NE(Sample().error({in, "--report", beside("no/a.json")}).find("there is no folder"), std::string::npos);
  EXPECT_NE(Sample().error({in, "--report", beside("a"), "-t", beside("./a")}).find("name the same file"),
            std::string::npos);
  EXPECT_EQ(Sample().error({in, "--report", "/dev/null", "-t", "/dev/null"}), "");
  EXPECT_NE(Sample().error({beside("a"), "--samples", in, "--report", in}).find("would be written over"),
            std::string::npos);
  EXPECT_EQ(Sample().error({in, "--samples", "random", "--report", beside("random")}), "");
  EXPECT_NE(Sample().error({in, "--drawings", in}).find("is a file"), std::string::npos);
}

TEST(CommandLine, FlagsTakeNoValue) {
  for (const char* argument : {"--loud=out.json", "--loud=", "--loud=1", "--loud=false", "--loud=99999999999999999999"})
    EXPECT_EQ(Sample().error({"in.txt", argument}), std::string("option '--loud': takes no value, got '") +
                                                        (std::strchr(argument, '=') + 1) +
                                                        "'. Fix: write --loud alone");
  for (const char* argument : {"-h=1", "-hx", "-c=", "-c=x", "--=", "-", "--", "---loud", "--count=1e3"})
    (void)Sample().error({"in.txt", argument});  // nothing that can be typed ends the process
}

TEST(CommandLine, SaysWhatIsMissingOrTooMuch) {
  EXPECT_EQ(Sample().error({}), "FILE is missing. Fix: planish sample --help shows an example");
  EXPECT_EQ(Sample().error({"a", "b", "c"}),
            "'c' is one argument too many. Fix: planish sample --help shows what it takes");
  EXPECT_NE(Sample().error({"a", "--count"}), "");
}

TEST(CommandLine, ChecksValues) {
  EXPECT_EQ(Sample().error({"a", "--count=11"}), "option '--count': 11 is out of range. Fix: allowed: 0 to 10");
  EXPECT_EQ(Sample().error({"a", "--count=x"}),
            "option '--count': 'x' is not a whole number. Fix: for example --count=0");
  EXPECT_EQ(Sample().error({"a", "--mode=fast"}),
            "option '--mode': 'fast' is not one of its values. Fix: use slow, quick");
  EXPECT_NE(Sample().error({"a", "--share=nan"}), "");
}

TEST(CommandLine, HelpListsEverythingAndAnExample) {
  const std::string text = Sample().line.help_text();
  for (const char* part : {"Usage: planish sample FILE [OTHER] [options]", "-c, --count N", "--mode slow|quick",
                           "Example:\n  planish sample in.txt --count=3\n"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(CommandLine, HelpNeedsNoOtherArgument) { EXPECT_EQ(Sample().error({"--help"}), ""); }

TEST(CommandLine, WordsForCompletion) {
  EXPECT_EQ(Sample().line.words(),
            (std::vector<std::string>{"--help", "--loud", "--count=", "--share=", "--mode=slow", "--mode=quick",
                                      "--samples=", "--report=", "--table=", "--drawings=", "--name="}));
}

}  // namespace
}  // namespace planish::tools
