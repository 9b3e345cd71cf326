// Stands in for framehost.exe in an installer: writes how it was called to the file that CALLED names, and ends with CODE.
#include <stdio.h>
#include <windows.h>

int main(void) {
    char line[32768];
    FILE *file = fopen(CALLED, "ab");
    WideCharToMultiByte(CP_UTF8, 0, GetCommandLineW(), -1, line, sizeof line, NULL, NULL);
    if (!file || fprintf(file, "%s\n", line) < 0 || fclose(file)) return 99;
    return CODE;
}
