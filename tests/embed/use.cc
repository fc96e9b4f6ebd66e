// SPDX-License-Identifier: MIT
// lazyd.h in C++: an engine with a callback that is a member of somebody's class.
#include <lazyd.h>

#include <cstdio>
#include <cstring>

namespace {

class Source {
public:
	int add(lazyd_memory *m)
	{
		return lazyd_memory_add_callback(m, &Source::ask, this, 0);
	}

private:
	static int64_t ask(void *self, const lazyd_ask *ask)
	{
		static_cast<Source *>(self)->asked_ += ask->len;
		std::memset(ask->to, 1, ask->len);
		return static_cast<int64_t>(ask->len);
	}
	uint64_t asked_ = 0;
};

} // namespace

int main()
{
	lazyd_options options = {};
	lazyd_memory *memory;
	struct lazyd_stats stats; // there is a function of that name too
	Source source;
	lazyd *l;

	options.size = sizeof(options);
	if (lazyd_new(&l, &options) || lazyd_memory_new(&memory))
		return 1;
	int number = source.add(memory);
	if (lazyd_memory_add_area(memory, 1 << 20, 4096, 4096) ||
	    lazyd_memory_add_piece(memory, 1 << 20, 4096, number, 0) || lazyd_add(l, memory) != 0 ||
	    lazyd_start(l) || lazyd_turn(l, 0) != 0)
		return 1;
	lazyd_stats(l, nullptr, &stats);
	std::printf("%s %d\n", lazyd_version(), static_cast<int>(stats.nr_spaces));
	lazyd_free(l);
	lazyd_memory_put(memory);
	return 0;
}
