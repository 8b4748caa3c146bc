/* `kubectl drover doctor`: examines the whole installation and says how to mend what is wrong. */
#ifndef DROVER_KUBECTL_DOCTOR_H
#define DROVER_KUBECTL_DOCTOR_H

/* argv[0] is "doctor". The exit code: 0 no fault, 1 faults, 2 it could not be run. */
int doctor_main(int argc, char **argv);

#endif
