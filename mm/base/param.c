/* SPDX-License-Identifier: MIT */
/* Parsing boot parameters (quire_config.params): words are looked up one at a time. */
#include "mm/base/param.h"
#include "lib/bug.h"
#include "lib/string.h"

struct quire_config init_config;

bool boot_param(const char *name, char *buf, size_t n)
{
	const char *s = init_config.params;
	size_t len = strlen(name);
	bool found = false;

	ASSERT(n);
	while (s && *s) {
		const char *end = s;

		while (*end && *end != ' ')
			end++;
		if (end - s == 2 && s[0] == '-' && s[1] == '-')
			break; /* what follows is the first program's */
		if ((size_t)(end - s) >= len && !strncmp(s, name, len) &&
		    (s[len] == '=' || s + len == end)) {
			const char *v = s + len + (s[len] == '=');
			size_t take = (size_t)(end - v) < n ? (size_t)(end - v) : n - 1;

			memcpy(buf, v, take);
			buf[take] = 0;
			found = true;
		}
		s = end + (*end == ' ');
	}
	return found;
}

bool boot_param_bool(const char *name, bool otherwise)
{
	char v[8];

	if (!boot_param(name, v, sizeof(v)))
		return otherwise;
	if (!v[0] || !strcmp(v, "on") || !strcmp(v, "1") || !strcmp(v, "y"))
		return true;
	if (!strcmp(v, "off") || !strcmp(v, "0") || !strcmp(v, "n"))
		return false;
	return otherwise;
}

uint64_t boot_param_size(const char *name, uint64_t otherwise)
{
	char v[24];
	uint64_t n = 0;
	unsigned i;

	if (!boot_param(name, v, sizeof(v)))
		return otherwise;
	for (i = 0; v[i] >= '0' && v[i] <= '9' && n < UINT64_MAX / 16; i++)
		n = n * 10 + (uint64_t)(v[i] - '0');
	if (!i)
		return otherwise;
	switch (v[i] | 0x20) {
	case 'g':
		n <<= 10; /* fall through */
	case 'm':
		n <<= 10; /* fall through */
	case 'k':
		n <<= 10;
		i++;
	}
	return v[i] ? otherwise : n;
}
