#include "planish/tools/console.h"

#include <gtest/gtest.h>

namespace planish::tools {
namespace {

Table sample() {
  Table table({{"Layer", false, 10}, {"ms", true}});
  table.add({"conv", "1.5"});
  table.add({"a_very_long|layer", "10.25"});
  return table;
}

TEST(Table, AlignsColumnsAndShortensLongNames) {
  EXPECT_EQ(sample().text(),
            "Layer          ms\n"
            "conv          1.5\n"
            "a_v..layer  10.25\n");
}

TEST(Table, Markdown) {
  EXPECT_EQ(sample().markdown(),
            "| Layer | ms |\n"
            "| --- | ---: |\n"
            "| conv | 1.5 |\n"
            "| a_very_long\\|layer | 10.25 |\n");
}

TEST(Table, CsvQuotesWhatNeedsIt) {
  Table table({{"a"}, {"b"}});
  table.add({"x,y", "say \"no\""});
  EXPECT_EQ(table.csv(), "a,b\n\"x,y\",\"say \"\"no\"\"\"\n");
}

TEST(Console, Units) {
  EXPECT_EQ(bytes_text(812), "812 B");
  EXPECT_EQ(bytes_text(5 << 20), "5.0 MiB");
  EXPECT_EQ(milliseconds_text(0.01234), "0.0123 ms");
  EXPECT_EQ(milliseconds_text(12.34), "12.3 ms");
  EXPECT_EQ(tuple_text({-1, 3}), "(?, 3)");
  EXPECT_EQ(tuple_text({7}), "(7,)");
  EXPECT_EQ(extents_text({1, -1, 4}), "1x?x4");
  EXPECT_EQ(extents_text({}), "scalar");
}

}  // namespace
}  // namespace planish::tools
