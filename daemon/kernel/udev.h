#pragma once

/* What our udev rules need to know about a device, a file in /run/quarry/udev read by IMPORT{file}; and its link. */

#include <quarry/base.h>

#include <sys/types.h>

#include <systemd/sd-id128.h>

#define UDEV_ROOT "/run/quarry/udev"

/* Written before the device is opened. encrypted: the crypt device is what users see. */
int udev_describe(sd_id128_t volume, const char *tenant, const char *name, bool encrypted);

/* The link /dev/quarry/TENANT/NAME of a volume that is described. Not made by the rules: udev comes to an event when it
 * has time, and by then the number of the device may be that of another volume, of another tenant, to which the link
 * would lead. So it is made when the device is open, and taken away before it is closed. -ENOENT: not described. */
int udev_link(sd_id128_t volume, bool encrypted, dev_t device);
void udev_unlink(sd_id128_t volume);

/* The link of another name, if it is the device's. */
void udev_unlink_name(const char *tenant, const char *name, dev_t device);
/* Has udev look at the device anew. */
void udev_tell(dev_t device);

int udev_forget(sd_id128_t volume); /* description and link, when the device is gone; missing ones are fine */
