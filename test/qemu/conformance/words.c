/* SPDX-License-Identifier: MIT */
/* What a test program finds: its arguments, an empty folder, nothing to read. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char c, cwd[100] = "";
	DIR *d = opendir(".");
	struct dirent *e;
	FILE *f = fopen("given", "r"), *left = fopen("left-over", "w");
	int n = 0;

	while (d && (e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "left-over");
	printf("%d words, in %s with %d files, %zd to read\n", argc - 1, getcwd(cwd, sizeof(cwd)), n, read(0, &c, 1));
	for (int i = 1; i < argc; i++)
		printf("[%s]\n", argv[i]);
	f = fopen("/data/given", "r");
	printf("%s\n", f && fgets(cwd, sizeof(cwd), f) ? cwd : "nothing given");
	return left ? 0 : 1;
}
