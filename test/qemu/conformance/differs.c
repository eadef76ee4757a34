/* SPDX-License-Identifier: MIT */
/* Says in its second line which kernel it runs on, and ends otherwise on Quire. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

int main(void)
{
	struct utsname u;

	uname(&u);
	printf("a kernel\n%s\n", strstr(u.release, "quire") ? "ours" : "a real one");
	return strstr(u.release, "quire") ? 4 : 0;
}
