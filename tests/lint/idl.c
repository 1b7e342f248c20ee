/* Prints the text of an interface, which is what docs/NAME.varlink must say. */

#include <quarry/api.h>
#include <quarry/text.h>
#include <quarry/worker-api.h>

#include <stdio.h>

static const sd_varlink_interface *const interfaces[] = {
        &vl_interface_io_quarry_Volume,           &vl_interface_io_quarry_Pool,   &vl_interface_io_quarry_Tenant,
        &vl_interface_io_quarry_Doctor,           &vl_interface_io_quarry_Key,    &vl_interface_io_quarry_Event,
        &vl_interface_io_quarry_Driver,           &vl_interface_io_quarry_Stream, &vl_interface_io_quarry_Worker,
        &vl_interface_io_systemd_StorageProvider,
};

int main(int argc, char *argv[]) {
        for (size_t i = 0; argc == 2 && i < ELEMENTSOF(interfaces); i++)
                if (streq(interfaces[i]->name, argv[1]))
                        return sd_varlink_idl_dump(stdout, interfaces[i], 0, 100) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        fputs("usage: idl INTERFACE\n", stderr);
        return 2;
}
